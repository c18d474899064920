//! The few protobuf messages of an event file, in the wire format of protobuf 3: `tensorboard/compat/proto/event.proto` and
//! `summary.proto`. A field is a key (number and wire type), then a varint, eight or four bytes, or a length and that many bytes.

const VARINT: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const LENGTH: u64 = 2;
const FOUR_BYTES: u64 = 5;

/// `SessionLog.SessionStatus.START`.
const START: u64 = 1;

/// One record of an event file.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Seconds since 1970.
    pub wall_time: f64,
    /// The step it tells of.
    pub step: u64,
    /// What it tells.
    pub what: What,
}

/// What an event tells.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// First event of every file.
    FileVersion(String),
    /// A process begins at the event's step: what was told of it and of later steps before is void.
    SessionStart,
    /// Values of a step.
    Summary(Vec<Value>),
}

/// A named value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number; the file holds it in f32.
    Scalar {
        /// Name, with slashes between groups.
        tag: String,
        /// The number.
        value: f32,
    },
    /// A distribution.
    Histogram {
        /// Name, with slashes between groups.
        tag: String,
        /// The distribution.
        histogram: Histogram,
    },
}

/// A distribution in buckets.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Smallest value, where the first bucket begins.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Sum of all weights.
    pub num: f64,
    /// Sum of the values.
    pub sum: f64,
    /// Sum of their squares.
    pub sum_squares: f64,
    /// Where each bucket ends.
    pub limits: Vec<f64>,
    /// Weight of each bucket.
    pub weights: Vec<f64>,
}

impl Value {
    /// A number by its name.
    pub fn scalar(tag: &str, value: f64) -> Self {
        Self::Scalar { tag: tag.into(), value: value as f32 }
    }

    fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Scalar { tag, value } => {
                bytes(&mut out, 1, tag.as_bytes());
                key(&mut out, 2, FOUR_BYTES);
                out.extend(value.to_le_bytes());
            }
            Self::Histogram { tag, histogram } => {
                bytes(&mut out, 1, tag.as_bytes());
                bytes(&mut out, 5, &histogram.encoded());
            }
        }
        out
    }
}

impl Histogram {
    /// One bar an expert, as wide as 1 and centred on the expert's index, as high as its share of the assignments.
    pub fn of_experts(share: &[f64]) -> Self {
        let moment = |power: i32| share.iter().enumerate().map(|(expert, share)| share * (expert as f64).powi(power)).sum();
        Self {
            min: -0.5,
            max: share.len() as f64 - 0.5,
            num: moment(0),
            sum: moment(1),
            sum_squares: moment(2),
            limits: (0..share.len()).map(|expert| expert as f64 + 0.5).collect(),
            weights: share.to_vec(),
        }
    }

    fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (field, value) in (1..).zip([self.min, self.max, self.num, self.sum, self.sum_squares]) {
            double(&mut out, field, value);
        }
        for (field, values) in [(6, &self.limits), (7, &self.weights)] {
            bytes(&mut out, field, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>());
        }
        out
    }
}

impl Event {
    /// The message's bytes.
    pub fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        double(&mut out, 1, self.wall_time);
        number(&mut out, 2, self.step);
        match &self.what {
            What::FileVersion(version) => bytes(&mut out, 3, version.as_bytes()),
            What::Summary(values) => bytes(&mut out, 5, &summary(values)),
            What::SessionStart => {
                let mut log = Vec::new();
                number(&mut log, 1, START);
                bytes(&mut out, 7, &log);
            }
        }
        out
    }
}

fn summary(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().for_each(|value| bytes(&mut out, 1, &value.encoded()));
    out
}

fn key(out: &mut Vec<u8>, field: u64, wire_type: u64) {
    varint(out, field << 3 | wire_type);
}

fn double(out: &mut Vec<u8>, field: u64, value: f64) {
    key(out, field, EIGHT_BYTES);
    out.extend(value.to_le_bytes());
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    key(out, field, VARINT);
    varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u64, content: &[u8]) {
    key(out, field, LENGTH);
    varint(out, content.len() as u64);
    out.extend(content);
}

/// Seven bits a byte, the lowest first; all but the last have the eighth bit set.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_varints() {
        let encoded = |value| {
            let mut out = Vec::new();
            varint(&mut out, value);
            out
        };
        // Examples of the protobuf documentation.
        assert_eq!([encoded(1), encoded(150), encoded(0)], [vec![1], vec![0x96, 1], vec![0]]);
        assert_eq!(encoded(u64::MAX).len(), 10);
    }
}
