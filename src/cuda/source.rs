//! The kernels' sources.

/// All of `source/`, as one text.
pub(super) const SOURCE: &str = concat!(
    include_str!("source/common.cu"),
    include_str!("source/pointwise.cu"),
    include_str!("source/arrange.cu"),
    include_str!("source/reduce.cu"),
    include_str!("source/window.cu"),
    include_str!("source/depthwise.cu"),
    include_str!("source/loss.cu"),
    include_str!("source/update.cu"),
);

/// The names of all kernels.
#[cfg(feature = "cuda-emulated")]
pub(super) fn names() -> Vec<String> {
    let name = |line: &str| {
        let (kind, rest) = line.split_once(['(', ' '])?;
        let name = rest.split(['(', ',']).next()?;
        Some(match kind {
            "KERNEL" => vec![name.into()],
            "UNARY" => vec![format!("unary_{name}")],
            "BINARY" => vec![format!("binary_{name}")],
            "REDUCE" => vec![format!("reduce_{name}"), format!("fold_{name}")],
            "DEPTHWISE" => ["", "by_input_", "by_kernel_"].map(|way| format!("depthwise_{way}{name}")).into(),
            "LOSS" => vec![format!("loss_{name}")],
            "PLACE" => vec![format!("place_{name}")],
            _ => return None,
        })
    };
    SOURCE.lines().filter_map(name).flatten().collect()
}

/// The compiler's version, if it knows devices of this compute capability.
#[cfg(not(feature = "cuda-emulated"))]
pub(super) fn compiler(capability: (i32, i32)) -> std::result::Result<String, String> {
    use cudarc::nvrtc::sys;
    let said = |e| format!("NVRTC: {e:?}");
    let (mut major, mut minor, mut count) = (0, 0, 0);
    // SAFETY: there is room for the answers, and for as many numbers as it says there are.
    let known = unsafe {
        sys::nvrtcVersion(&mut major, &mut minor).result().map_err(said)?;
        sys::nvrtcGetNumSupportedArchs(&mut count).result().map_err(said)?;
        let mut known = vec![0; count.max(0) as usize];
        sys::nvrtcGetSupportedArchs(known.as_mut_ptr()).result().map_err(said)?;
        known
    };
    let (a, b) = capability;
    if !known.contains(&(a * 10 + b)) {
        return Err(format!(
            "NVRTC {major}.{minor} knows no devices of compute capability {a}.{b}: install another CUDA"
        ));
    }
    Ok(format!("{major}.{minor}"))
}

/// The kernels as machine code for devices of this architecture, such as `sm_90`: unlike PTX it loads into drivers that are
/// older than the compiler.
///
/// # Errors
/// What the compiler says, or that its library is missing.
pub fn cubin(architecture: &str) -> std::result::Result<Vec<u8>, String> {
    use cudarc::nvrtc::{result, sys};
    // SAFETY: loading the library runs its own initialisers alone.
    if !unsafe { sys::is_culib_present() } {
        return Err("NVRTC, which compiles the kernels, is not there".into());
    }
    let text = std::ffi::CString::new(SOURCE).map_err(|e| e.to_string())?;
    let said = |e: result::NvrtcError| format!("NVRTC: {e:?}");
    let program = result::create_program(&text, Some(c"adapt.cu")).map_err(said)?;
    let options = [format!("--gpu-architecture={architecture}"), "--std=c++17".into()];
    // SAFETY: the program was just made, is used by nobody else, and is destroyed once.
    unsafe {
        let compiled = result::compile_program(program, &options).map_err(|e| {
            let log = result::get_program_log(program).unwrap_or_default();
            let log: Vec<u8> = log.into_iter().map(|c| c as u8).filter(|c| *c != 0).collect();
            format!("{}: {}", said(e), String::from_utf8_lossy(&log))
        });
        let code = compiled.and_then(|()| {
            let mut size = 0;
            sys::nvrtcGetCUBINSize(program, &mut size).result().map_err(said)?;
            let mut code = vec![0u8; size];
            sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast()).result().map_err(said)?;
            Ok(code)
        });
        result::destroy_program(program).map_err(said)?;
        code
    }
}
