//! NVIDIA's management library, loaded at run time: total energy of each GPU since the driver was loaded (Volta and later).

use std::ffi::{c_int, c_uint, c_ulonglong, c_void};
use std::path::Path;

use anyhow::{Result, bail};
use libloading::{Library, Symbol};

use super::Counter;

type Handle = *mut c_void;

/// The library, and the GPUs it knows.
#[derive(Debug)]
pub(super) struct Nvml {
    library: Library,
    gpus: Vec<Handle>,
}

impl Nvml {
    /// Loads the library and finds the GPUs.
    ///
    /// # Errors
    /// Without library, driver or GPU.
    pub(super) fn open(path: &Path) -> Result<Self> {
        // SAFETY: NVIDIA's library runs nothing of its own when it is loaded.
        let library = unsafe { Library::new(path) }?;
        // SAFETY: the signatures are those of nvml.h.
        let (init, count): (Symbol<unsafe extern "C" fn() -> c_int>, Symbol<unsafe extern "C" fn(*mut c_uint) -> c_int>) =
            unsafe { (library.get(b"nvmlInit_v2\0")?, library.get(b"nvmlDeviceGetCount_v2\0")?) };
        let mut n = 0;
        // SAFETY: no arguments, and a place for one number.
        checked("nvmlInit", unsafe { init() })?;
        // SAFETY: as above.
        checked("nvmlDeviceGetCount", unsafe { count(&raw mut n) })?;
        if n == 0 {
            bail!("there is no NVIDIA GPU");
        }
        let mut nvml = Self { library, gpus: Vec::new() };
        nvml.gpus = (0..n).map(|index| nvml.gpu(index)).collect::<Result<_>>()?;
        Ok(nvml)
    }

    fn gpu(&self, index: c_uint) -> Result<Handle> {
        let mut gpu: Handle = std::ptr::null_mut();
        // SAFETY: the signature is that of nvml.h; a place for one handle.
        let code = unsafe {
            let handle: Symbol<unsafe extern "C" fn(c_uint, *mut Handle) -> c_int> =
                self.library.get(b"nvmlDeviceGetHandleByIndex_v2\0")?;
            handle(index, &raw mut gpu)
        };
        checked("nvmlDeviceGetHandleByIndex", code).map(|()| gpu)
    }

    fn millijoules(&self, gpu: Handle) -> Result<f64> {
        let mut energy: c_ulonglong = 0;
        // SAFETY: the signature is that of nvml.h; the handle came from it.
        let code = unsafe {
            let total: Symbol<unsafe extern "C" fn(Handle, *mut c_ulonglong) -> c_int> =
                self.library.get(b"nvmlDeviceGetTotalEnergyConsumption\0")?;
            total(gpu, &raw mut energy)
        };
        checked("nvmlDeviceGetTotalEnergyConsumption", code).map(|()| energy as f64)
    }
}

impl Counter for Nvml {
    fn name(&self) -> String {
        format!("NVML, {} GPUs without the rest of the machine", self.gpus.len())
    }

    fn devices(&self) -> usize {
        self.gpus.len()
    }

    fn joules(&self) -> Result<Vec<f64>> {
        self.gpus.iter().map(|&gpu| Ok(self.millijoules(gpu)? / 1e3)).collect()
    }

    fn wraps(&self) -> Vec<f64> {
        vec![f64::INFINITY; self.gpus.len()]
    }
}

fn checked(call: &str, code: c_int) -> Result<()> {
    if code == 0 { Ok(()) } else { bail!("{call} failed with code {code}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A library of two GPUs, the second of which has used 7 J and uses 1 J more at each look.
    const FAKE: &str = r#"
        static unsigned long long used = 6000;
        int nvmlInit_v2(void) { return 0; }
        int nvmlDeviceGetCount_v2(unsigned *n) { *n = 2; return 0; }
        int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **gpu) { *gpu = (void *)(unsigned long)(i + 1); return 0; }
        int nvmlDeviceGetTotalEnergyConsumption(void *gpu, unsigned long long *energy) {
            *energy = gpu == (void *)1 ? 5000 : (used += 1000);
            return 0;
        }
    "#;

    #[test]
    fn the_energy_of_every_gpu_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (source, library) = (folder.path().join("fake.c"), folder.path().join("libfake.so"));
        std::fs::write(&source, FAKE).unwrap();
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status().unwrap();
        assert!(compiled.success());
        let nvml = Nvml::open(&library).unwrap();
        assert_eq!((nvml.joules().unwrap(), nvml.joules().unwrap()), (vec![5.0, 7.0], vec![5.0, 8.0]));
    }

    #[test]
    fn without_the_library_there_is_no_meter() {
        assert!(Nvml::open(Path::new("/nonexistent/libnvidia-ml.so.1")).is_err());
    }
}
