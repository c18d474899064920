//! `coppice energy`: given and measured power, with meters made up for the test.

use std::process::Command;

use crate::support::outcome::ended;
use crate::support::{Folder, coppice, done, json_of, refused, stderr, stdout};

/// `coppice energy` on a machine with the meters of `folder` and no others.
fn energy(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = coppice(["energy"]);
    command.args(arguments).env("COPPICE_POWERCAP", folder.arg("powercap")).env("COPPICE_NVML", folder.arg("libnvml.so"));
    command
}

fn package(folder: &Folder, microjoules: u64) {
    std::fs::create_dir_all(folder.path("powercap/intel-rapl:0")).unwrap();
    for (name, content) in
        [("name", "package-0".to_owned()), ("energy_uj", microjoules.to_string()), ("max_energy_range_uj", "1000000".to_owned())]
    {
        folder.write(&format!("powercap/intel-rapl:0/{name}"), &content);
    }
}

/// A library with the functions of NVML that shows one GPU of 250 W, and no counter of energy.
fn gpu(folder: &Folder) {
    let source = folder.write(
        "nvml.c",
        "int nvmlInit_v2(void) { return 0; }\n\
         int nvmlShutdown(void) { return 0; }\n\
         int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return 0; }\n\
         int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) { *handle = (void *)8; return index == 0 ? 0 : 2; }\n\
         int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *mj) { (void)handle; (void)mj; return 3; }\n\
         int nvmlDeviceGetPowerUsage(void *handle, unsigned *mw) { *mw = handle == (void *)8 ? 250000 : 0; return 0; }\n",
    );
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o", &folder.arg("libnvml.so"), &source]).status();
    assert!(compiled.unwrap().success(), "the compiler that builds torch-ext builds this too");
}

#[test]
fn the_figures_of_the_report() {
    let folder = Folder::new();
    let arguments = ["--hours", "92000", "--watts", "296", "--intensity", "0.367"];
    let found = json_of(energy(&folder, &arguments).arg("--json"));
    assert_eq!((found["total"]["wh"].as_f64().unwrap() / 1e6).round(), 30.0);
    assert_eq!((found["total"]["kg_co2"].as_f64().unwrap() / 1e3).round(), 11.0);
    assert_eq!(found["power"]["source"], "given");
    let told = stdout(&done(&mut energy(&folder, &arguments)));
    assert!(told.contains("29.9552 MWh") && told.contains("10.9936 tCO2eq") && told.contains("NOT measured"), "{told}");
}

#[test]
fn a_training_run_is_read_from_its_log() {
    let folder = Folder::new();
    let line = |step: u64, tokens: u64| {
        format!(r#"{{"step":{step},"tokens":{tokens},"loss":1.5,"lr":0.1,"grad_norm":2.0,"tokens_per_second":0.5}}"#)
    };
    std::fs::create_dir_all(folder.path("run/stages/a")).unwrap();
    folder.write("run/stages/a/metrics.jsonl", format!("{}\n{}\n", line(1, 900), line(2, 1800)));
    let run = folder.arg("run");
    let found = json_of(&mut energy(&folder, &["--run", &run, "--watts", "100", "--devices", "2", "--region", "france", "--json"]));
    // An hour on two devices of 100 W, PUE 1.1, 0.056 kg/kWh.
    assert!((found["total"]["wh"].as_f64().unwrap() - 220.0).abs() < 1e-9, "{found}");
    assert!((found["total"]["kg_co2"].as_f64().unwrap() - 0.22 * 0.056).abs() < 1e-12);
    assert!((found["work"]["per_1000_tokens"]["wh"].as_f64().unwrap() - 220.0 / 1.8).abs() < 1e-9);
    assert!(refused(&mut energy(&folder, &["--run", &run])).contains("--watts"));
    assert!(refused(&mut energy(&folder, &["--run", &folder.arg("absent"), "--watts", "1"])).contains("metrics.jsonl"));
}

#[test]
fn without_a_meter_a_wattage_is_asked_for_and_labelled() {
    let folder = Folder::with_model();
    let model = folder.arg("model");
    let work = ["--model", &model, "--tokens", "8", "--prompt-tokens", "4", "--device", "cpu"];
    let said = refused(&mut energy(&folder, &work));
    assert!(said.contains("no meter") && said.contains("RAPL") && said.contains("--watts"), "{said}");
    let told = stdout(&done(energy(&folder, &work).args(["--watts", "65"])));
    assert!(told.contains("65.0 W a device, given, NOT measured") && told.contains("per 1,000 tokens generated"), "{told}");
}

#[test]
fn a_processor_is_measured_by_its_counter() {
    let folder = Folder::with_model();
    package(&folder, 500_000);
    let model = folder.arg("model");
    let found = json_of(&mut energy(&folder, &["--model", &model, "--tokens", "8", "--batch", "2", "--device", "cpu", "--json"]));
    // The counter stands still: no energy, and yet measured.
    assert_eq!((&found["power"]["source"], found["total"]["wh"].as_f64()), (&"measured".into(), Some(0.0)));
    assert_eq!(found["power"]["meters"][0], "RAPL, package-0");
    assert_eq!(found["work"]["tokens"], 16);
}

#[test]
fn a_command_runs_under_all_meters() {
    let folder = Folder::new();
    gpu(&folder);
    let output = done(energy(&folder, &["--json", "--pue", "1", "--"]).args(["sh", "-c", "echo heard; sleep 0.3"]));
    assert!(stderr(&output).contains("heard"));
    let found: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(found["power"]["meters"][0], "NVML, GPU 0");
    assert!((found["power"]["watts"].as_f64().unwrap() - 250.0).abs() < 1e-6, "{found}");
    let seconds = found["work"]["seconds"].as_f64().unwrap();
    assert!(seconds >= 0.3 && (found["total"]["wh"].as_f64().unwrap() - 250.0 * seconds / 3600.0).abs() < 1e-6);
    let failed = ended(energy(&folder, &["--"]).args(["sh", "-c", "exit 3"]), 1);
    assert!(stdout(&failed).contains("exit status: 3"), "{}", stdout(&failed));
}

#[test]
fn what_means_nothing_is_refused() {
    let folder = Folder::new();
    for (arguments, said) in [
        (&[][..], "name the work"),
        (&["--hours", "1"], "--watts"),
        (&["--hours=-1", "--watts", "5"], "hours"),
        (&["--hours", "1", "--watts", "5", "--pue", "0.5"], "PUE"),
        (&["--hours", "1", "--watts", "5", "--region", "atlantis"], "germany"),
        (&["--hours", "1", "--watts", "5", "--intensity=-1"], "intensity"),
        (&["--", "/nonexistent/program"], "no meter"),
        (&["--watts", "5", "--", "/nonexistent/program"], "cannot start"),
    ] {
        let found = refused(&mut energy(&folder, arguments));
        assert!(found.contains(said), "{arguments:?}: {found}");
    }
}
