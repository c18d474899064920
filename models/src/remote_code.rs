//! The Python files that let transformers load a mixture of experts: `AutoModelForCausalLM.from_pretrained(dir, trust_remote_code=True)`.

use std::path::Path;

use crate::fs::{FsError, write_atomic};

/// Name and text of each, as `auto_map` of a `stablelm_moe`'s `config.json` names them.
pub const FILES: [(&str, &str); 2] = [
    ("configuration_stablelm_moe.py", include_str!("../python/configuration_stablelm_moe.py")),
    ("modeling_stablelm_moe.py", include_str!("../python/modeling_stablelm_moe.py")),
];

/// Writes them into a checkpoint folder.
///
/// # Errors
/// [`FsError`] when one cannot be written.
pub fn write(folder: &Path) -> Result<(), FsError> {
    FILES.iter().try_for_each(|(name, text)| write_atomic(folder.join(name), text.as_bytes()))
}
