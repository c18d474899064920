//! The restricted reader of torch.save's files: what is refused, by which name, and that nothing makes it panic.
//!
//! The files are torch's and Python's own (`tests/golden/make_deepspeed.py`).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coppice_upcycle::pickle::{PickleError, TorchFile, Value};
use proptest::collection::vec;
use proptest::prelude::*;
use tch::Kind;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/deepspeed").join(name)
}

fn refusal(name: &str) -> String {
    TorchFile::open(golden(name)).unwrap_err().to_string()
}

#[test]
fn foreign_classes_are_refused_by_name_and_place() {
    for class in ["posix.system", "builtins.eval", "torch.serialization.load", "builtins.getattr", "operator.attrgetter"] {
        let path = golden(&format!("hostile/{class}.pt"));
        let error = TorchFile::open(&path).unwrap_err();
        let PickleError::Class { class: named, at, .. } = &error else { panic!("{error}") };
        let told = error.to_string();
        assert!(named == class && *at > 0 && told.contains(class) && told.contains(path.to_str().unwrap()), "{told}");
        assert_eq!(told.lines().count(), 1);
    }
}

#[test]
fn known_classes_with_foreign_arguments_are_refused_by_name() {
    for class in ["collections.OrderedDict", "torch._utils._rebuild_tensor_v2"] {
        let told = refusal(&format!("hostile/{class}.pt"));
        assert!(told.contains(&format!("calls {class} with")), "{told}");
    }
}

#[test]
fn other_tricks_are_refused() {
    for (name, words) in [
        ("INST", "INST"),
        ("extension", "extension code"),
        ("storage", "in a storage of 4 numbers"),
        ("strides", "in a storage of 4 numbers"),
        ("compressed", "compressed"),
    ] {
        let told = refusal(&format!("hostile/{name}.pt"));
        assert!(told.contains(words), "{name}: {told}");
    }
    let short = TorchFile::open(golden("hostile/bytes.pt")).unwrap();
    let told = short.read(short.root().tensor().unwrap(), Kind::Float).unwrap_err().to_string();
    assert!(told.contains("data/0 has 12 bytes, expected 4 of Float"), "{told}");
}

#[test]
fn what_is_no_file_of_torch_save_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pt");
    for content in [&b""[..], b"\x80\x02N.", b"PK\x03\x04", &[0; 4000]] {
        fs::write(&path, content).unwrap();
        let told = TorchFile::open(&path).unwrap_err().to_string();
        assert!(told.contains("a.pt") && told.lines().count() == 1, "{told}");
    }
    assert!(TorchFile::open(folder.path()).is_err() && TorchFile::open(folder.path().join("none")).is_err());
}

/// Walks everything in a value, but no deeper than any state goes, and reads the tensors.
fn walk(file: &TorchFile, value: Value, depth: usize) -> usize {
    if depth == 0 {
        return 0;
    }
    let _ = (value.noun(), value.text(), value.float(), value.get("step"), value.argument(0));
    let read = value.tensor().map_or(0, |tensor| usize::from(file.read(tensor, Kind::Float).is_ok()));
    let elements = value.elements().map_or(0, |elements| elements.take(50).map(|value| walk(file, value, depth - 1)).sum());
    let items = value.items().map_or(0, |items| items.take(50).map(|(_, value)| walk(file, value, depth - 1)).sum());
    read + elements + items
}

#[test]
fn whole_files_are_read_and_cut_ones_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pt");
    for name in ["named.pt", "transformers/zero_pp_rank_1_mp_rank_00_optim_states.pt"] {
        let whole = fs::read(golden(name)).unwrap();
        let file = TorchFile::open(golden(name)).unwrap();
        assert!(walk(&file, file.root(), 6) >= 3);
        for length in (0..whole.len()).step_by(whole.len() / 40) {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(TorchFile::open(&path).is_err(), "{length} of {} bytes of {name}", whole.len());
        }
    }
}

#[test]
fn a_flipped_bit_in_program_or_storage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flipped.pt");
    let name = "merged/bf16_zero_pp_mp_rank_00_optim_states.pt";
    let whole = fs::read(golden(name)).unwrap();
    let storage = whole.len() / 2; // the program is near the start, the storages fill the rest
    let program = whole.windows(9).position(|bytes| bytes == b"clip_grad").unwrap();
    for at in [program, storage] {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        fs::write(&path, flipped).unwrap();
        let read = TorchFile::open(&path).map(|file| walk(&file, file.root(), 6));
        let tensors = walk(&TorchFile::open(golden(name)).unwrap(), TorchFile::open(golden(name)).unwrap().root(), 6);
        assert!(read.is_err() || read.unwrap() < tensors, "bit {at}");
    }
}

/// Opens the bytes as a file and walks what it holds; returns how long that took.
fn survived(bytes: &[u8]) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fuzzed.pt");
    fs::write(&path, bytes).unwrap();
    let began = Instant::now();
    if let Ok(file) = TorchFile::open(&path) {
        walk(&file, file.root(), 5);
    }
    began.elapsed()
}

/// A zip archive of stored entries around a program, with right checksums, so that the machine gets to see it.
fn archive(program: &[u8]) -> Vec<u8> {
    let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in [("a/data.pkl", program), ("a/data/0", &[1; 64])] {
        out.start_file(name, stored).unwrap();
        std::io::Write::write_all(&mut out, content).unwrap();
    }
    out.finish().unwrap().into_inner()
}

/// The program of a golden file.
fn program(name: &str) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(fs::File::open(golden(name)).unwrap()).unwrap();
    let entry = archive.file_names().map(|name| name.unwrap().into_owned()).find(|name| name.ends_with("data.pkl")).unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut archive.by_name(&entry).unwrap(), &mut bytes).unwrap();
    bytes
}

const SLOW: Duration = Duration::from_secs(20);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_programs_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        prop_assert!(survived(&archive(&bytes)) < SLOW);
    }

    #[test]
    fn programs_of_known_instructions_never_panic(
        bytes in vec(prop::sample::select(&b"NKMJGX)]}(t\x85\x86\x87a\x65su0123cQRb\x81\x93q\x00h\x00r\x01j\x01.\n\x94\x8f\x90\x91lde"[..]), 0..400),
    ) {
        prop_assert!(survived(&archive(&bytes)) < SLOW);
    }

    #[test]
    fn altered_programs_never_panic(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>()) {
        for name in ["named.pt", "ranks/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"] {
            let mut bytes = program(name);
            changes.iter().for_each(|(at, byte)| { let at = at.index(bytes.len()); bytes[at] = *byte; });
            prop_assert!(survived(&archive(&bytes)) < SLOW);
            bytes.truncate(cut.index(bytes.len()));
            prop_assert!(survived(&archive(&bytes)) < SLOW);
        }
    }

    #[test]
    fn altered_archives_never_panic(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = fs::read(golden("hostile/bytes.pt")).unwrap();
        changes.iter().for_each(|(at, byte)| { let at = at.index(bytes.len()); bytes[at] = *byte; });
        prop_assert!(survived(&bytes) < SLOW);
    }
}

#[test]
fn programs_that_repeat_themselves_take_little() {
    // A list that holds itself, a million references to one list, a deep nest, and numbers without end.
    let growing = [&b"\x80\x02]q\x00"[..], &b"h\x00a".repeat(300_000), b"."].concat();
    let nested = [&b"\x80\x02"[..], &b"]".repeat(900_000), &b"a".repeat(899_999), b"."].concat();
    let many = [&b"\x80\x02"[..], &b"N".repeat(1 << 21), b"."].concat();
    let built: Vec<u8> = [
        &b"\x80\x02cdeepspeed.runtime.fp16.loss_scaler\nLossScaler\n)\x81}q\x00("[..],
        &b"NN".repeat(200_000),
        b"u",
        &b"bh\x00".repeat(400_000),
    ]
    .concat();
    for program in [growing, nested, many, built] {
        assert!(survived(&archive(&program)) < SLOW);
    }
}
