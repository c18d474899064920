//! Power of an NVIDIA GPU, from the library that comes with its driver.
//!
//! The library is opened at run time: the same binary runs where there is none. Reference: NVIDIA's NVML API, `nvmlDeviceGetTotalEnergyConsumption`
//! (mJ since the driver was loaded; Volta and later) and `nvmlDeviceGetPowerUsage` (mW, where there is no counter).

use std::ffi::{OsString, c_int, c_uint, c_ulonglong, c_void};
use std::sync::Arc;

use libloading::{Library, Symbol};

use super::meter::{Meter, MeterError, Reading};

/// `nvmlDevice_t`.
type Handle = *mut c_void;

/// What every function returns; 0 is success.
type Code = c_int;

/// The driver's library, initialised.
struct Driver {
    library: Library,
}

/// One GPU.
pub struct Nvml {
    driver: Arc<Driver>,
    handle: Handle,
    index: u32,
}

// SAFETY: NVML's functions may be called from any thread, and a handle names a device of the whole process.
unsafe impl Send for Nvml {}
// SAFETY: as above.
unsafe impl Sync for Driver {}
// SAFETY: as above.
unsafe impl Send for Driver {}

impl Driver {
    fn open() -> Result<Arc<Self>, MeterError> {
        let named = std::env::var_os("COPPICE_NVML");
        let names = named.map_or_else(|| vec![OsString::from("libnvidia-ml.so.1"), "libnvidia-ml.so".into()], |name| vec![name]);
        let driver = Self { library: Self::load(&names)? };
        driver.call("nvmlInit_v2", |function: Symbol<unsafe extern "C" fn() -> Code>| {
            // SAFETY: the signature is NVML's.
            unsafe { function() }
        })?;
        Ok(Arc::new(driver))
    }

    /// The first of the libraries that can be opened.
    fn load(names: &[OsString]) -> Result<Library, MeterError> {
        let mut reason = MeterError::Nvml("no library is named".into());
        for name in names {
            // SAFETY: opening the driver's library runs its initialisers, which any program with a GPU runs.
            match unsafe { Library::new(name) } {
                Ok(library) => return Ok(library),
                Err(error) => reason = MeterError::Nvml(format!("{} cannot be opened ({error})", name.to_string_lossy())),
            }
        }
        Err(reason)
    }

    /// Calls the function `name`.
    fn call<F>(&self, name: &str, call: impl FnOnce(Symbol<F>) -> Code) -> Result<(), MeterError> {
        // SAFETY: every caller names the signature of NVML's documentation.
        let function = unsafe { self.library.get(name.as_bytes()) };
        let function = function.map_err(|error| MeterError::Nvml(format!("the driver's library has no {name} ({error})")))?;
        match call(function) {
            0 => Ok(()),
            code => Err(MeterError::Nvml(format!("{name} failed with code {code}"))),
        }
    }

    fn count(&self) -> Result<u32, MeterError> {
        let mut count: c_uint = 0;
        self.call("nvmlDeviceGetCount_v2", |function: Symbol<unsafe extern "C" fn(*mut c_uint) -> Code>| {
            // SAFETY: the function writes one unsigned int.
            unsafe { function(&raw mut count) }
        })?;
        Ok(count)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.call("nvmlShutdown", |function: Symbol<unsafe extern "C" fn() -> Code>| {
            // SAFETY: the signature is NVML's.
            unsafe { function() }
        });
    }
}

impl Nvml {
    /// GPU `index`, as NVML numbers them.
    pub fn open(index: u32) -> Result<Self, MeterError> {
        Self::of(&Driver::open()?, index)
    }

    /// Every GPU of the machine.
    pub fn all() -> Result<Vec<Self>, MeterError> {
        let driver = Driver::open()?;
        (0..driver.count()?).map(|index| Self::of(&driver, index)).collect()
    }

    fn of(driver: &Arc<Driver>, index: u32) -> Result<Self, MeterError> {
        let mut handle: Handle = std::ptr::null_mut();
        driver.call("nvmlDeviceGetHandleByIndex_v2", |function: Symbol<unsafe extern "C" fn(c_uint, *mut Handle) -> Code>| {
            // SAFETY: the function writes one handle.
            unsafe { function(index, &raw mut handle) }
        })?;
        Ok(Self { driver: Arc::clone(driver), handle, index })
    }

    fn joules(&self) -> Result<f64, MeterError> {
        let mut millijoules: c_ulonglong = 0;
        type Get<'a> = Symbol<'a, unsafe extern "C" fn(Handle, *mut c_ulonglong) -> Code>;
        self.driver.call("nvmlDeviceGetTotalEnergyConsumption", |function: Get| {
            // SAFETY: the handle is one of this library's, and the function writes one unsigned long long.
            unsafe { function(self.handle, &raw mut millijoules) }
        })?;
        Ok(millijoules as f64 / 1e3)
    }

    fn watts(&self) -> Result<f64, MeterError> {
        let mut milliwatts: c_uint = 0;
        self.driver.call("nvmlDeviceGetPowerUsage", |function: Symbol<unsafe extern "C" fn(Handle, *mut c_uint) -> Code>| {
            // SAFETY: the handle is one of this library's, and the function writes one unsigned int.
            unsafe { function(self.handle, &raw mut milliwatts) }
        })?;
        Ok(f64::from(milliwatts) / 1e3)
    }
}

impl Meter for Nvml {
    fn name(&self) -> String {
        format!("NVML, GPU {}", self.index)
    }

    fn read(&mut self) -> Result<Reading, MeterError> {
        self.joules().map(Reading::Joules).or_else(|_| self.watts().map(Reading::Watts))
    }
}
