//! What the behaviour tests of this crate share: weights both sides make alike, checkpoints made of them, golden files.
#![allow(dead_code, reason = "every test uses its own part")]

pub(crate) mod checkpoint;
pub(crate) mod golden;
pub(crate) mod weights;
