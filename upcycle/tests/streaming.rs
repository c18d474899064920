//! How a conversion writes: every source tensor accounted for, the same bytes by any number of jobs and in several goes, experts where
//! they can be mapped, and the files beside the weights.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use coppice_models::checkpoint::kind_of;
use coppice_models::init::{Source, Stored};
use coppice_models::tensors::expected;
use coppice_models::{Checkpoint, Config, Model, remote_code};
use coppice_upcycle::card;
use coppice_upcycle::convert::{ConvertError, MANIFEST, Manifest, Options, Progress, Sources, upcycle, upcycle_by};
use coppice_upcycle::methods::{self, Method, Origin, Preservation, Projection, Recipe, Target};
use coppice_upcycle::step0::{self, Probe};
use coppice_upcycle::train::export::export;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};
use support::{listing, open, plain, variants, write};
use tch::{Device, Kind, Tensor};

static GO: AtomicBool = AtomicBool::new(false);

fn convert(source: &Checkpoint, options: &Options, output: &Path) -> Result<Manifest, ConvertError> {
    upcycle(&Sources::one(source), options, output, &mut |_| {}, &GO)
}

/// Every file of a folder.
fn bytes_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    listing(folder).into_iter().map(|name| (name.clone(), std::fs::read(folder.join(name)).unwrap())).collect()
}

/// Experts of the gate and down projections alone, so that every up projection is left out.
struct Forgetful {
    reason: Option<&'static str>,
}

impl Method for Forgetful {
    fn name(&self) -> &'static str {
        "forgetful"
    }

    fn summary(&self) -> &'static str {
        "leaves the up projections out"
    }

    fn preserves(&self, _config: &Config, _options: &Options) -> Preservation {
        Preservation::Not("it leaves matrices out".into())
    }

    fn recipe(&self, target: &Target, _options: &Options) -> Recipe {
        match (target.expert, target.projection) {
            (0, Projection::Gate | Projection::Down) => Recipe::Copy(target.dense()),
            (_, Projection::Down) => Recipe::Made {
                sources: vec![target.dense()],
                like: target.dense(),
                make: Box::new(|dense| Ok(dense[0].f_mul_scalar(2.0)?)),
                note: "scaled by 2".into(),
            },
            _ => {
                let shape = target.shape.clone();
                let make = move |_: &[Tensor]| Ok(Tensor::f_zeros(&shape[..], (Kind::Float, Device::Cpu))?);
                Recipe::Made { sources: vec![], like: target.dense(), make: Box::new(make), note: "zeros".into() }
            }
        }
    }

    fn drops(&self, origin: &Origin, _options: &Options) -> Option<String> {
        self.reason.filter(|_| origin.tensor.contains("up_proj")).map(str::to_owned)
    }
}

#[test]
fn a_source_tensor_that_goes_nowhere_is_refused_by_name_unless_the_method_says_why() {
    let (_folder, dense) = open(&variants()[1].1, Dtype::F32);
    let root = tempfile::tempdir().unwrap();
    let (output, options) = (root.path().join("out"), Options { experts: 2, ..Options::default() });
    let run = |reason| upcycle_by(&Forgetful { reason }, &Sources::one(&dense), &options, &output, &mut |_| {}, &GO);
    let told = run(None).unwrap_err().to_string();
    assert!(told.contains("forgetful leaves out model.layers.0.mlp.up_proj.weight, model.layers.1.mlp.up_proj.weight"), "{told}");
    assert!(listing(root.path()).is_empty());
    let manifest = run(Some("not needed")).unwrap();
    let account = |name: &str| &manifest.tensors[&format!("model.layers.0.{name}")];
    assert_eq!(account("mlp.up_proj.weight").dropped.as_deref(), Some("not needed"));
    let down = account("mlp.down_proj.weight");
    assert_eq!(down.copied_to, ["model.layers.0.mlp.experts.0.down_proj.weight"]);
    assert_eq!(down.made_into["model.layers.0.mlp.experts.1.down_proj.weight"], "scaled by 2");
    assert!(account("self_attn.q_proj.weight").kept && !down.kept);
    assert!(manifest.tensors.values().all(|account| account.is_used() || account.dropped.is_some()));
}

#[test]
fn at_most_four_lost_tensors_are_named() {
    let config = Config { num_hidden_layers: 6, ..plain() };
    let (_folder, dense) = open(&config, Dtype::F32);
    let root = tempfile::tempdir().unwrap();
    let method = Forgetful { reason: None };
    let error = upcycle_by(&method, &Sources::one(&dense), &Options::default(), &root.path().join("out"), &mut |_| {}, &GO).unwrap_err();
    let told = error.to_string();
    assert!(told.matches("up_proj").count() == 4 && told.contains("and 2 more"), "{told}");
}

#[test]
fn buffers_of_old_exports_are_accounted_for() {
    let folder = write(&plain(), Dtype::F32, |_, _| {});
    let path = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let buffer = [0u8; 16];
    let extra = ("model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(), TensorView::new(Dtype::F32, vec![4], &buffer).unwrap());
    serialize_to_file(read.iter().map(|(name, view)| (name.to_owned(), view)).chain([extra]), None, &path).unwrap();
    let root = tempfile::tempdir().unwrap();
    let manifest = convert(&Checkpoint::open(folder.path()).unwrap(), &Options::default(), &root.path().join("out")).unwrap();
    assert!(manifest.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"].recomputed);
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_jobs() {
    for (name, config) in variants() {
        let (_folder, dense) = open(&config, Dtype::BF16);
        let root = tempfile::tempdir().unwrap();
        for method in methods::ALL.iter().map(|method| method.name()).filter(|name| *name != "branch_train_mix") {
            let run = |jobs, folder: &str| {
                let output = root.path().join(format!("{method}-{folder}"));
                let options = Options { method: method.into(), jobs, max_shard_bytes: 30_000, experts: 4, ..Options::default() };
                convert(&dense, &options, &output).map(|_| bytes_of(&output))
            };
            let Ok(one) = run(1, "one") else { continue };
            assert!(one == run(2, "two").unwrap() && one == run(7, "seven").unwrap(), "{name} {method}");
        }
    }
}

/// Whether a tensor lies in a mapping of the checkpoint.
fn mapped(checkpoint: &Checkpoint, tensor: &Tensor) -> bool {
    let address = tensor.data_ptr() as usize;
    checkpoint.mappings().iter().any(|map| (map.as_ptr() as usize..map.as_ptr() as usize + map.len()).contains(&address))
}

fn packed(checkpoint: &Checkpoint, projection: &str) -> Tensor {
    let moe = checkpoint.config.moe.as_ref().unwrap();
    let names: Vec<String> = (0..moe.num_experts).map(|e| format!("model.layers.1.mlp.experts.{e}.{projection}.weight")).collect();
    let shape = &checkpoint.entry(&names[0]).unwrap().shape;
    let kind = kind_of(checkpoint.dtype()).unwrap();
    Stored { checkpoint, kind, device: Device::Cpu, owned: false }.packed(&names, shape).unwrap()
}

#[test]
fn experts_are_used_where_they_lie_and_an_older_order_is_copied() {
    let (_folder, dense) = open(&plain(), Dtype::BF16);
    let root = tempfile::tempdir().unwrap();
    for largest in [u64::MAX, 30_000] {
        let output = root.path().join(largest.to_string());
        convert(&dense, &Options { experts: 3, max_shard_bytes: largest, ..Options::default() }, &output).unwrap();
        let result = Checkpoint::open(&output).unwrap();
        for name in ["gate_proj", "up_proj", "down_proj"] {
            let experts = packed(&result, name);
            assert!(mapped(&result, &experts) && (experts.data_ptr() as usize).is_multiple_of(64), "{name}, {largest}");
        }
    }
    // The crate's own writer sorts by name, which is expert by expert.
    let (new, old) = (root.path().join(u64::MAX.to_string()), root.path().join("old"));
    std::fs::create_dir(&old).unwrap();
    std::fs::copy(new.join("config.json"), old.join("config.json")).unwrap();
    let bytes = std::fs::read(new.join("model.safetensors")).unwrap();
    serialize_to_file(safetensors::SafeTensors::deserialize(&bytes).unwrap().iter(), None, &old.join("model.safetensors")).unwrap();
    let (new, old) = (Checkpoint::open(&new).unwrap(), Checkpoint::open(&old).unwrap());
    let copied = packed(&old, "up_proj");
    assert!(!mapped(&old, &copied) && copied.equal(&packed(&new, "up_proj")));
}

#[test]
fn every_tensor_of_the_configuration_lies_in_its_shard_at_a_multiple_of_its_element() {
    let (_folder, dense) = open(&variants()[1].1, Dtype::F32);
    let root = tempfile::tempdir().unwrap();
    convert(&dense, &Options { experts: 3, max_shard_bytes: 60_000, ..Options::default() }, &root.path().join("out")).unwrap();
    let result = Checkpoint::open(root.path().join("out")).unwrap();
    for spec in expected(&result.config).iter().filter(|spec| result.entry(&spec.name).is_some()) {
        assert!((result.bytes(&spec.name).unwrap().as_ptr() as usize).is_multiple_of(4), "{}", spec.name);
    }
}

/// Runs until a share of the bytes is written, then raises the flag.
fn stopped_at(share: f64, dense: &Checkpoint, options: &Options, output: &Path) -> ConvertError {
    let flag = AtomicBool::new(false);
    let mut progress = |at: Progress| flag.store(at.written as f64 > share * at.total as f64, Ordering::Relaxed);
    upcycle(&Sources::one(dense), options, output, &mut progress, &flag).unwrap_err()
}

#[test]
fn an_interrupted_conversion_goes_on_to_the_same_bytes() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let root = tempfile::tempdir().unwrap();
    let (output, options) = (root.path().join("out"), Options { max_shard_bytes: 60_000, jobs: 2, ..Options::default() });
    convert(&dense, &options, &root.path().join("whole")).unwrap();
    let error = stopped_at(0.3, &dense, &options, &output);
    let ConvertError::Paused { finished, files } = error else { panic!("{error}") };
    assert!(0 < finished && finished < files, "{finished} of {files}");
    assert_eq!(listing(root.path()), [".out.partial", "whole"]);
    assert_eq!(listing(&root.path().join(".out.partial")).len(), finished + 1, "finished files and the record");

    let other = Options { seed: 9, resume: true, ..options.clone() };
    let told = convert(&dense, &other, &output).unwrap_err().to_string();
    assert!(told.contains(".out.partial was begun") && !told.contains('\n'), "{told}");
    let resume = Options { resume: true, ..options.clone() };
    assert!(matches!(stopped_at(0.7, &dense, &resume, &output), ConvertError::Paused { finished: more, .. } if more >= finished));

    // A torn file that the record does not name, and a finished one that lost its end, are made again.
    let partial = root.path().join(".out.partial");
    std::fs::write(partial.join("model-99999-of-99999.safetensors"), "torn").unwrap();
    let first = listing(&partial).into_iter().find(|name| name.starts_with("model-00001")).unwrap();
    std::fs::OpenOptions::new().write(true).open(partial.join(first)).unwrap().set_len(100).unwrap();
    let first_left = std::cell::Cell::new(0);
    let mut progress = |at: Progress| first_left.set(if first_left.get() == 0 { at.written } else { first_left.get() });
    let manifest = upcycle(&Sources::one(&dense), &resume, &output, &mut progress, &GO).unwrap();
    assert!(first_left.get() > 60_000, "finished files count as written: {}", first_left.get());
    assert_eq!(manifest.files.len(), files);
    assert!(bytes_of(&output) == bytes_of(&root.path().join("whole")));
    assert_eq!(listing(root.path()), ["out", "whole"]);
}

#[test]
fn without_resume_a_stopped_conversion_begins_anew_and_a_failure_leaves_nothing() {
    let (folder, dense) = open(&plain(), Dtype::F32);
    let root = tempfile::tempdir().unwrap();
    let (output, options) = (root.path().join("out"), Options { max_shard_bytes: 60_000, ..Options::default() });
    assert!(matches!(stopped_at(0.5, &dense, &options, &output), ConvertError::Paused { .. }));
    convert(&dense, &Options { seed: 3, ..options.clone() }, &output).unwrap();
    assert_eq!(listing(root.path()), ["out"]);
    std::fs::remove_dir_all(&output).unwrap();
    assert!(matches!(stopped_at(0.5, &dense, &options, &output), ConvertError::Paused { .. }));
    // The source changed: what was begun cannot be gone on with.
    let weights = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::write(&weights, bytes).unwrap();
    let changed = Checkpoint::open(folder.path()).unwrap();
    let resume = Options { resume: true, ..options.clone() };
    assert!(matches!(convert(&changed, &resume, &output), Err(ConvertError::OtherPlan { .. })));
    assert_eq!(listing(root.path()), [".out.partial"]);
    assert!(matches!(stopped_at(0.0, &changed, &options, &output), ConvertError::Interrupted), "no file was finished");
    assert!(listing(root.path()).is_empty());
}

#[test]
fn a_tensor_of_another_shape_is_refused() {
    struct Transposed;
    impl Method for Transposed {
        fn name(&self) -> &'static str {
            "transposed"
        }
        fn summary(&self) -> &'static str {
            "the down projection the wrong way round"
        }
        fn preserves(&self, _config: &Config, _options: &Options) -> Preservation {
            Preservation::Not("its matrices lie the wrong way".into())
        }
        fn recipe(&self, target: &Target, _options: &Options) -> Recipe {
            let source = target.dense();
            let make = Box::new(|dense: &[Tensor]| Ok(dense[0].f_transpose(0, 1)?));
            Recipe::Made { sources: vec![source.clone()], like: source, make, note: "transposed".into() }
        }
    }
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let root = tempfile::tempdir().unwrap();
    let error = upcycle_by(&Transposed, &Sources::one(&dense), &Options::default(), &root.path().join("out"), &mut |_| {}, &GO);
    let told = error.unwrap_err().to_string();
    assert!(told.contains("shape [32, 48]") || told.contains("asks for"), "{told}");
    assert!(listing(root.path()).is_empty());
}

#[test]
fn the_folder_has_a_card_and_the_code_transformers_needs() {
    let (folder, dense) = open(&plain(), Dtype::F32);
    std::fs::write(folder.path().join("README.md"), "---\nlicense: other\nlicense_name: \"a: b\"\n---\n# Theirs\n").unwrap();
    let root = tempfile::tempdir().unwrap();
    let evil = root.path().join("evil | <b>name `x` [y](z)\n# no");
    std::fs::rename(folder.path(), &evil).unwrap();
    drop(dense);
    let dense = Checkpoint::open(&evil).unwrap();
    let output = root.path().join("out");
    convert(&dense, &Options { experts: 4, layers: "0,2".parse().unwrap(), seed: 7, ..Options::default() }, &output).unwrap();
    for (name, text) in remote_code::FILES {
        assert_eq!(std::fs::read_to_string(output.join(name)).unwrap(), text);
    }
    let text = std::fs::read_to_string(output.join(card::CARD)).unwrap();
    for part in [
        "license: \"other\"\nlicense_name: \"a: b\"\nbase_model: ",
        "library_name: transformers",
        "trust_remote_code=True",
        "| converted layers | 0, 2 |",
        "| experts a token | 2 |",
        "`topk_softmax`",
        "| seed | 7 |",
        "FLOPs a token, decode",
        MANIFEST,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let body = text.splitn(3, "---\n").nth(2).unwrap();
    assert!(!body.contains("<b>") && !text.contains("\n# no") && !text.contains("Theirs"), "{text}");
    assert!(!text.contains(root.path().to_str().unwrap()), "no folder of this machine: {text}");
    assert!(text.contains("No report was made."));
    let upcycled = Checkpoint::open(&output).unwrap();
    let report = step0::compare(&dense, &upcycled, &Probe::Random { tokens: 40, seed: 1 }, &mut |_, _| {}, &GO).unwrap();
    for _ in 0..2 {
        card::add_report(&output, &report).unwrap();
    }
    let filled = std::fs::read_to_string(output.join(card::CARD)).unwrap();
    assert!(filled.contains("exact: the logits equal") && !filled.contains("No report was made."), "{filled}");
    assert_eq!(filled.matches("step 0: exact").count(), 1);
    assert!(filled.ends_with(text.rsplit("## Provenance").next().unwrap()));
}

#[test]
fn a_trained_export_of_experts_has_the_code_transformers_needs_and_a_dense_one_does_not() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let root = tempfile::tempdir().unwrap();
    convert(&dense, &Options { experts: 2, ..Options::default() }, &root.path().join("out")).unwrap();
    for (name, source) in [("moe", Checkpoint::open(root.path().join("out")).unwrap()), ("dense", dense)] {
        let model = Model::load(&source, Kind::Float, Device::Cpu).unwrap();
        let folder = export(&model.config, &model.parameters(), &root.path().join(name), None).unwrap();
        for (file, text) in remote_code::FILES {
            let found = std::fs::read_to_string(folder.join(file)).ok();
            assert_eq!(found.as_deref(), (name == "moe").then_some(text), "{name}");
        }
    }
}
