//! The classes and functions a program may name. Everything else is refused by name.
//!
//! Those of torch rebuild tensors; those of Python make containers; those of DeepSpeed are what its optimizer states hold beside tensors
//! (`deepspeed/runtime/bf16_optimizer.py`, `deepspeed/runtime/zero/stage_1_and_2.py`), kept as records that do nothing.

use tch::Kind;

/// Something that a program may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `set` and `frozenset`.
    Set,
    /// `_codecs.encode`, by which protocol 2 writes bytes.
    Encode,
    /// `torch.Size`.
    Size,
    /// `torch._utils._rebuild_tensor_v2`.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`, with and without attributes.
    RebuildParameter,
    /// `torch._tensor._rebuild_from_type_v2`, which calls one of the two above.
    RebuildFromType,
    /// `torch.{Kind}Storage`.
    Storage(Kind),
    /// A type or constant that is named and never called.
    Inert(&'static str),
    /// A class whose objects are kept as records.
    Record(&'static str),
}

/// Module, name, meaning.
const KNOWN: [(&str, &str, Class); 35] = [
    ("collections", "OrderedDict", Class::OrderedDict),
    ("builtins", "set", Class::Set),
    ("__builtin__", "set", Class::Set),
    ("builtins", "frozenset", Class::Set),
    ("__builtin__", "frozenset", Class::Set),
    ("_codecs", "encode", Class::Encode),
    ("torch", "Size", Class::Size),
    ("torch._utils", "_rebuild_tensor_v2", Class::RebuildTensor),
    ("torch._utils", "_rebuild_parameter", Class::RebuildParameter),
    ("torch._utils", "_rebuild_parameter_with_state", Class::RebuildParameter),
    ("torch._tensor", "_rebuild_from_type_v2", Class::RebuildFromType),
    ("torch", "DoubleStorage", Class::Storage(Kind::Double)),
    ("torch", "FloatStorage", Class::Storage(Kind::Float)),
    ("torch", "HalfStorage", Class::Storage(Kind::Half)),
    ("torch", "BFloat16Storage", Class::Storage(Kind::BFloat16)),
    ("torch", "LongStorage", Class::Storage(Kind::Int64)),
    ("torch", "IntStorage", Class::Storage(Kind::Int)),
    ("torch", "ShortStorage", Class::Storage(Kind::Int16)),
    ("torch", "CharStorage", Class::Storage(Kind::Int8)),
    ("torch", "ByteStorage", Class::Storage(Kind::Uint8)),
    ("torch", "BoolStorage", Class::Storage(Kind::Bool)),
    ("torch", "Tensor", Class::Inert("torch.Tensor")),
    ("torch.nn.parameter", "Parameter", Class::Inert("torch.nn.parameter.Parameter")),
    ("torch", "float64", Class::Inert("torch.float64")),
    ("torch", "float32", Class::Inert("torch.float32")),
    ("torch", "float16", Class::Inert("torch.float16")),
    ("torch", "bfloat16", Class::Inert("torch.bfloat16")),
    ("torch", "int64", Class::Inert("torch.int64")),
    ("torch", "device", Class::Record("torch.device")),
    ("deepspeed.utils.tensor_fragment", "fragment_address", Class::Record("deepspeed.utils.tensor_fragment.fragment_address")),
    ("deepspeed.utils", "fragment_address", Class::Record("deepspeed.utils.fragment_address")),
    ("deepspeed.runtime.bf16_optimizer", "fragment_address", Class::Record("deepspeed.runtime.bf16_optimizer.fragment_address")),
    ("deepspeed.runtime.zero.config", "ZeroStageEnum", Class::Record("deepspeed.runtime.zero.config.ZeroStageEnum")),
    ("deepspeed.runtime.fp16.loss_scaler", "LossScaler", Class::Record("deepspeed.runtime.fp16.loss_scaler.LossScaler")),
    ("deepspeed.runtime.fp16.loss_scaler", "DynamicLossScaler", Class::Record("deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler")),
];

impl Class {
    /// What a program means by a module and a name.
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        KNOWN.iter().find(|known| (known.0, known.1) == (module, name)).map(|known| known.2)
    }

    /// Its full name, for sentences.
    pub(super) fn name(self) -> String {
        let named = KNOWN.iter().find(|known| known.2 == self);
        named.map_or_else(String::new, |(module, name, _)| format!("{module}.{name}"))
    }
}
