//! Compiles `torch-ext` against libtorch's headers, and lets tests and binaries of this package find libtorch at run time with
//! nothing exported.

use std::env;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The sources any processor runs.
const COMMON: [&str; 9] = [
    "bandwidth.cpp",
    "ext.cpp",
    "fused.cpp",
    "fused_portable.cpp",
    "linear.cpp",
    "linear_portable.cpp",
    "pool.cpp",
    "tally.cpp",
    "training.cpp",
];

/// The sources for x86-64 alone, each with the instructions it may use.
const X86_64: [(&str, &[&str]); 5] = [
    ("fused_avx2.cpp", &["-mavx2", "-mfma"]),
    ("fused_avx512.cpp", &["-mavx512f", "-mfma", "-mprefer-vector-width=512"]),
    ("linear_avx2.cpp", &["-mavx2", "-mfma"]),
    ("linear_avx512.cpp", &["-mavx512f"]),
    ("linear_avx512_bf16.cpp", &["-mavx512f", "-mavx512bf16"]),
];

fn main() -> Result<()> {
    let lib = PathBuf::from(env::var("DEP_TCH_LIBTORCH_LIB")?);
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    println!("cargo:rerun-if-changed=torch-ext");
    let include = include_dir(&lib)?;
    let mut objects = Vec::new();
    if env::var("CARGO_CFG_TARGET_ARCH")? == "x86_64" {
        for (file, flags) in X86_64 {
            objects.extend(compiler(&include)?.flags(flags).file(source(file)).try_compile_intermediates()?);
        }
    }
    println!("cargo:rustc-check-cfg=cfg(coppice_c10d)");
    match gloo_include(&lib) {
        Some(gloo) => {
            let mut build = compiler(&include)?;
            build.flag("-isystem").flag(gloo.to_str().ok_or("the path to gloo is not UTF-8")?).define("USE_C10D_GLOO", None);
            objects.extend(build.file(source("c10d.cpp")).try_compile_intermediates()?);
            println!("cargo:rustc-cfg=coppice_c10d");
            build_nccl(&lib, &include)?;
        }
        None => println!("cargo:warning=no gloo headers: distributed training is off (install libgloo-dev and build again)"),
    }
    let mut build = compiler(&include)?;
    build.objects(objects).files(COMMON.map(source)).try_compile("coppice_ext")?;
    Ok(())
}

/// Where the folders with the headers of CUDA and NCCL are named, builds the library that makes NCCL groups; the binary loads it beside
/// libtorch's CUDA library when it runs.
fn build_nccl(lib: &Path, include: &Path) -> Result<()> {
    println!("cargo:rerun-if-env-changed=COPPICE_CUDA_INCLUDE");
    let Some(folders) = env::var_os("COPPICE_CUDA_INCLUDE") else { return Ok(()) };
    let mut build = compiler(include)?;
    build.pic(true).define("USE_C10D_NCCL", None);
    for folder in env::split_paths(&folders) {
        build.flag("-isystem").flag(folder.to_str().ok_or("the path to CUDA's headers is not UTF-8")?);
    }
    let library = PathBuf::from(env::var("OUT_DIR")?).join("libcoppice_nccl.so");
    let mut command = build.try_get_compiler()?.to_command();
    command.arg("-shared").arg("-o").arg(&library).arg(source("nccl.cpp")).arg("-L").arg(lib);
    command.args(["-ltorch_cpu", "-ltorch_cuda", "-lc10"]);
    if !command.status()?.success() {
        return Err("nccl.cpp could not be compiled with the headers in COPPICE_CUDA_INCLUDE".into());
    }
    println!("cargo:rustc-env=COPPICE_NCCL={}", library.display());
    Ok(())
}

/// The folder that holds `gloo/`: the one named, the one of set-up beside libtorch, or the system's.
fn gloo_include(lib: &Path) -> Option<PathBuf> {
    println!("cargo:rerun-if-env-changed=COPPICE_GLOO_INCLUDE");
    let named = env::var_os("COPPICE_GLOO_INCLUDE").map(PathBuf::from);
    let folders = named.into_iter().chain([lib.join("../../gloo/include"), PathBuf::from("/usr/include")]);
    folders.map(|folder| (folder.join("gloo/context.h"), folder)).find(|(header, _)| header.is_file()).map(|(header, folder)| {
        println!("cargo:rerun-if-changed={}", header.display());
        folder
    })
}

fn source(file: &str) -> PathBuf {
    Path::new("torch-ext").join(file)
}

/// The headers that belong to the library in `lib`: `LIBTORCH_INCLUDE/include` where torch-sys was told so, else beside it.
fn include_dir(lib: &Path) -> Result<PathBuf> {
    println!("cargo:rerun-if-env-changed=LIBTORCH_INCLUDE");
    let parent = env::var("LIBTORCH_INCLUDE").map_or_else(|_| lib.join(".."), PathBuf::from);
    let include = parent.join("include");
    if include.join("ATen/Parallel.h").is_file() {
        return Ok(include);
    }
    Err(format!("no libtorch headers in {}: run `make setup`, or set LIBTORCH or LIBTORCH_INCLUDE", include.display()).into())
}

/// A compiler set as libtorch's headers need it: C++17, its ABI, and OpenMP, whose threads `at::parallel_for` shares.
fn compiler(include: &Path) -> Result<cc::Build> {
    println!("cargo:rerun-if-env-changed=LIBTORCH_CXX11_ABI");
    let abi = env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(3).debug(false).flag("-fopenmp").define("_GLIBCXX_USE_CXX11_ABI", abi.as_str());
    // GCC 12 warns of its own AVX-512 headers.
    build.flag_if_supported("-Wno-uninitialized").flag_if_supported("-Wno-maybe-uninitialized");
    for dir in [include.to_path_buf(), include.join("torch/csrc/api/include")] {
        build.flag("-isystem").flag(dir.to_str().ok_or("the path to libtorch is not UTF-8")?);
    }
    Ok(build)
}
