//! A reader of files written by `torch.save` that executes nothing.
//!
//! Such a file is a zip archive of stored entries: `data.pkl`, a program for Python's pickle machine, and one entry of raw bytes for every
//! storage. Python runs the program, which may call anything. The machine here knows what optimizer states are made of: numbers, text,
//! tuples, lists, dictionaries and sets, tensors over storages, and a few classes whose objects are kept as records without meaning
//! (`globals`). A program that names any other class is refused by that name before anything else happens.
//!
//! Nothing is allocated on the file's word: every length is held against what is left of the file, objects lie in one list (so that nesting
//! costs no stack and what is referred to often is kept once), their number is bounded, and tensors are views into the mapped file that
//! are copied when they are asked for. References: CPython `Lib/pickletools.py` (opcodes), PyTorch `torch/serialization.py` (archive,
//! persistent ids) and `torch/_utils.py` (what rebuilds a tensor).

mod archive;
mod calls;
mod error;
mod file;
mod globals;
mod input;
mod machine;
mod stack;
mod tensor;
mod value;

pub use self::error::PickleError;
pub use self::file::TorchFile;
pub use self::tensor::StoredTensor;
pub use self::value::Value;
