//! An optimizer state by parameter, as torch.save lays it out: a zip archive around a pickle of protocol 2.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::checkpoint::Tensors;

/// The state of a model with these weights after `step` updates: moments of a hundredth of the weights, and the squares of those.
pub(crate) fn state(weights: &Tensors, step: i32) -> Vec<u8> {
    let mut file = File { program: b"\x80\x02}".to_vec(), storages: Vec::new() };
    file.text("state");
    file.program.extend(b"}(");
    for (name, (shape, values)) in weights {
        let scaled = |by: fn(f32) -> f32| values.iter().map(|&value| by(value)).collect::<Vec<f32>>();
        file.text(name);
        file.program.extend(b"}(");
        file.text("step");
        file.program.push(b'J');
        file.program.extend(step.to_le_bytes());
        for (key, values) in [("fp32", values.clone()), ("exp_avg", scaled(|w| 0.01 * w)), ("exp_avg_sq", scaled(|w| 1e-4 * w * w))] {
            file.text(key);
            file.tensor(shape, values);
        }
        file.program.push(b'u');
    }
    file.program.extend(b"us.");
    file.archived()
}

struct File {
    program: Vec<u8>,
    storages: Vec<Vec<f32>>,
}

impl File {
    fn text(&mut self, text: &str) {
        self.program.push(b'X');
        self.program.extend((text.len() as u32).to_le_bytes());
        self.program.extend(text.as_bytes());
    }

    fn number(&mut self, number: usize) {
        self.program.push(b'J');
        self.program.extend((number as i32).to_le_bytes());
    }

    fn numbers(&mut self, numbers: impl IntoIterator<Item = usize>) {
        self.program.push(b'(');
        numbers.into_iter().for_each(|number| self.number(number));
        self.program.push(b't');
    }

    fn tensor(&mut self, shape: &[usize], values: Vec<f32>) {
        self.program.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        self.text("storage");
        self.program.extend(b"ctorch\nFloatStorage\n");
        self.text(&self.storages.len().to_string());
        self.text("cpu");
        self.number(values.len());
        self.program.extend(b"tQK\x00");
        self.numbers(shape.iter().copied());
        self.numbers((0..shape.len()).map(|dim| shape[dim + 1..].iter().product()));
        self.program.extend(b"\x89ccollections\nOrderedDict\n)RtR");
        self.storages.push(values);
    }

    fn archived(self) -> Vec<u8> {
        let mut out = ZipWriter::new(Cursor::new(Vec::new()));
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        out.start_file("state/data.pkl", stored).unwrap();
        out.write_all(&self.program).unwrap();
        for (key, values) in self.storages.iter().enumerate() {
            out.start_file(format!("state/data/{key}"), stored).unwrap();
            out.write_all(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
        }
        out.finish().unwrap().into_inner()
    }
}
