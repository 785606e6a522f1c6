//! What of CUDA this machine has.

use crate::guard::quietly;
use cudarc::{cublas, cudnn, driver, nvrtc};

/// A library that the GPU needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// What it is called.
    pub name: &'static str,
    /// Its version, as far as it tells one; or why it cannot be used.
    pub outcome: Result<String, String>,
}

/// The oldest CUDA whose drivers and libraries will do, as the driver writes it.
const OLDEST: i32 = 12000;

fn version(number: i32) -> String {
    format!("CUDA {}.{}", number / 1000, number % 1000 / 10)
}

fn asked(
    name: &'static str,
    instead: &str,
    present: unsafe fn() -> bool,
    ask: impl FnOnce() -> Result<String, String>,
) -> Library {
    // SAFETY: loading a library runs its own initialisers alone; it is asked for nothing before it is there.
    let outcome = if unsafe { present() } { quietly(ask).unwrap_or_else(Err) } else { Err(instead.to_owned()) };
    Library { name, outcome }
}

/// The CUDA that the driver is of, as it writes it.
fn driver_number() -> Result<i32, String> {
    let mut number = 0;
    // SAFETY: there is room for the answer.
    unsafe { driver::sys::cuDriverGetVersion(&mut number) }.result().map_err(|e| format!("{e:?}"))?;
    Ok(number)
}

/// The CUDA that the kernels' compiler is of; a driver that is a whole version older cannot load what it makes.
fn compiler(driver: Option<i32>) -> Result<String, String> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: there is room for the answer.
    unsafe { nvrtc::sys::nvrtcVersion(&mut major, &mut minor) }.result().map_err(|e| format!("{e:?}"))?;
    let own = version(major * 1000 + minor * 10);
    match driver {
        Some(number) if number / 1000 < major => Err(format!(
            "it is of {own}, the driver of {}: install a newer driver, or the libraries of the driver's CUDA",
            version(number)
        )),
        _ => Ok(own),
    }
}

fn driver_library() -> Library {
    let ask = || match driver_number()? {
        number @ OLDEST.. => Ok(version(number)),
        number => {
            let (own, oldest) = (version(number), version(OLDEST));
            Err(format!("it is of {own}: {oldest} or later is needed; install a newer driver"))
        }
    };
    asked("NVIDIA driver", "the loader finds none: install NVIDIA's driver", driver::sys::is_culib_present, ask)
}

fn products() -> Result<String, String> {
    use cublas::sys::{cublasGetProperty, libraryPropertyType_t as Property};
    let number = |property| {
        let mut number = 0;
        // SAFETY: there is room for the answer.
        unsafe { cublasGetProperty(property, &mut number) }.result().map_err(|e| format!("{e:?}"))?;
        Ok::<_, String>(number)
    };
    let [major, minor, patch] = [Property::MAJOR_VERSION, Property::MINOR_VERSION, Property::PATCH_LEVEL].map(number);
    Ok(format!("cuBLAS {}.{}.{}", major?, minor?, patch?))
}

/// The libraries that the GPU needs, each looked for where the system's loader finds them.
pub fn libraries() -> [Library; 4] {
    let driver = driver_library();
    let dnn = || {
        let number = cudnn::result::get_version();
        match number {
            90000.. => Ok(format!("cuDNN {}.{}.{}", number / 10000, number / 100 % 100, number % 100)),
            _ => Err(format!("its version {number} is too old: install cuDNN 9")),
        }
    };
    let install = "the loader finds none: install CUDA, or name its folder in LD_LIBRARY_PATH";
    let number = driver.outcome.is_ok().then(|| driver_number().ok()).flatten();
    [
        driver,
        asked("NVRTC", install, nvrtc::sys::is_culib_present, || compiler(number)),
        asked("cuBLAS", install, cublas::sys::is_culib_present, products),
        asked(
            "cuDNN",
            "the loader finds none: install cuDNN 9, or name its folder in LD_LIBRARY_PATH",
            cudnn::sys::is_culib_present,
            dnn,
        ),
    ]
}

/// The first library that cannot be used, in a line; or that all can.
#[cfg(not(feature = "cuda-emulated"))]
pub(super) fn complete(libraries: &[Library]) -> Result<(), String> {
    let wrong = libraries.iter().find_map(|library| Some((library.name, library.outcome.as_ref().err()?)));
    wrong.map_or(Ok(()), |(name, why)| Err(format!("{name}: {why}")))
}

/// A device that the driver knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its number.
    pub ordinal: usize,
    /// Its name, memory and compute capability; or why they are not known.
    pub outcome: Result<String, String>,
}

/// The devices that the driver knows; why it knows none, where it does not.
#[cfg(feature = "cuda-emulated")]
pub fn status() -> Result<Vec<Status>, String> {
    Ok(vec![Status { ordinal: 0, outcome: Ok("emulated on the processor, for tests".into()) }])
}

/// The devices that the driver knows; why it knows none, where it does not.
#[cfg(not(feature = "cuda-emulated"))]
pub fn status() -> Result<Vec<Status>, String> {
    complete(&[driver_library()])?;
    let says = |e: driver::DriverError| super::said(&e);
    let count = quietly(|| {
        driver::result::init().map_err(says)?;
        driver::result::device::get_count().map_err(says)
    });
    let one = |ordinal: usize| {
        let describe = || {
            let device = driver::result::device::get(ordinal as i32)?;
            let name = driver::result::device::get_name(device)?;
            use driver::sys::CUdevice_attribute_enum as Attribute;
            // SAFETY: the device is one of the driver's.
            let [major, minor] = [
                Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            ]
            .map(|attribute| unsafe { driver::result::device::get_attribute(device, attribute) });
            // SAFETY: the same.
            let memory = unsafe { driver::result::device::total_mem(device) }? >> 20;
            Ok(format!("{name}, {memory} MiB, compute capability {}.{}", major?, minor?))
        };
        let outcome = quietly(|| describe().map_err(says)).unwrap_or_else(Err);
        Status { ordinal, outcome }
    };
    Ok((0..count.unwrap_or_else(Err)?.max(0) as usize).map(one).collect())
}
