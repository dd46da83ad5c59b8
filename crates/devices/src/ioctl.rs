//! The calls themselves: structures and numbers of Linux's `include/uapi/linux/sev-guest.h` (since 5.19) and `include/uapi/linux/nsm.h` (since 6.8,
//! and AWS's own module before it), whose layout the tests hold to the headers.
//!
//! Each function owns every buffer whose address it hands to the kernel until the call has returned, and says its true length. More is not needed
//! for the calls to be sound: the kernel writes to these buffers only, and any bytes are a valid content of them.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use zeroize::Zeroizing;

/// `struct snp_report_req`.
#[repr(C)]
struct SnpReportRequest {
    user_data: [u8; 64],
    vmpl: u32,
    reserved: [u8; 28],
}

/// `struct snp_ext_report_req`.
#[repr(C)]
struct SnpExtendedReportRequest {
    data: SnpReportRequest,
    certs_address: u64,
    certs_len: u32,
}

/// `struct snp_derived_key_req`.
#[repr(C)]
struct SnpDerivedKeyRequest {
    root_key_select: u32,
    reserved: u32,
    guest_field_select: u64,
    vmpl: u32,
    guest_svn: u32,
    tcb_version: u64,
}

/// `struct snp_guest_request_ioctl`.
#[repr(C)]
struct SnpGuestRequest {
    msg_version: u8,
    req_data: u64,
    resp_data: u64,
    /// Of the union `exitinfo2`: its low half, then its high one.
    fw_error: u32,
    vmm_error: u32,
}

/// `struct nsm_iovec`.
#[repr(C)]
struct NsmBuffer {
    addr: u64,
    len: u64,
}

/// `struct nsm_raw`.
#[repr(C)]
struct NsmRaw {
    request: NsmBuffer,
    response: NsmBuffer,
}

const SNP_GET_REPORT: Opcode = opcode::read_write::<SnpGuestRequest>(b'S', 0);
const SNP_GET_DERIVED_KEY: Opcode = opcode::read_write::<SnpGuestRequest>(b'S', 1);
const SNP_GET_EXT_REPORT: Opcode = opcode::read_write::<SnpGuestRequest>(b'S', 2);
const NSM_IOCTL_RAW: Opcode = opcode::read_write::<NsmRaw>(0x0a, 0);

const MESSAGE_VERSION: u8 = 1;
/// `struct snp_report_resp`.
const SNP_ANSWER_BYTES: usize = 4000;
/// `struct snp_derived_key_resp`.
const SNP_KEY_ANSWER_BYTES: usize = 64;
/// `SEV_FW_BLOB_MAX_SIZE`: the kernel takes no larger buffer for certificates, and only whole pages.
const CERTIFICATES_BYTES: usize = 16 << 10;
/// `NSM_REQUEST_MAX_SIZE` and `NSM_RESPONSE_MAX_SIZE`.
const NSM_REQUEST_BYTES_MAX: usize = 0x1000;
const NSM_ANSWER_BYTES_MAX: usize = 0x3000;

/// What AMD's guest device gives.
pub struct SevGuestAnswer {
    /// The firmware's message, 4000 bytes: MSG_REPORT_RSP (AMD 56860).
    pub message: Vec<u8>,
    /// The host's table of certificates (AMD 56421), padded with zeros; nothing but zeros if the host has none.
    pub certificates: Vec<u8>,
}

/// `SNP_GET_REPORT`: the report alone.
pub fn sev_guest_report(device: impl AsFd, user_data: &[u8; 64], vmpl: u32) -> io::Result<Vec<u8>> {
    let mut request = SnpReportRequest { user_data: *user_data, vmpl, reserved: [0; 28] };
    let mut message = vec![0; SNP_ANSWER_BYTES];
    let mut call = SnpGuestRequest::over((&raw mut request).expose_provenance(), &mut message);
    // SAFETY: the opcode is the one that the header gives for this structure, which points to a `snp_report_req` and to the 4000 bytes of a
    // `snp_report_resp`; both live until the call has returned, and nothing else refers to them meanwhile.
    let called = unsafe { ioctl(device, Updater::<SNP_GET_REPORT, _>::new(&mut call)) };
    call.outcome(called)?;
    Ok(message)
}

/// `SNP_GET_EXT_REPORT`: the report, and the certificates that the host has put beside it.
pub fn sev_guest_extended_report(device: impl AsFd, user_data: &[u8; 64], vmpl: u32) -> io::Result<SevGuestAnswer> {
    let mut certificates = vec![0u8; CERTIFICATES_BYTES];
    let mut request = SnpExtendedReportRequest {
        data: SnpReportRequest { user_data: *user_data, vmpl, reserved: [0; 28] },
        certs_address: address(&mut certificates),
        certs_len: CERTIFICATES_BYTES as u32,
    };
    let mut message = vec![0; SNP_ANSWER_BYTES];
    let mut call = SnpGuestRequest::over((&raw mut request).expose_provenance(), &mut message);
    // SAFETY: as above, with a `snp_ext_report_req`, which points to a further buffer of the length that it says; it too lives until the call
    // has returned, and nothing else refers to it meanwhile.
    let called = unsafe { ioctl(device, Updater::<SNP_GET_EXT_REPORT, _>::new(&mut call)) };
    call.outcome(called)?;
    Ok(SevGuestAnswer { message, certificates })
}

/// `SNP_GET_DERIVED_KEY`: the firmware's message, MSG_KEY_RSP (AMD 56860), with a key of the chip's for a guest that is as these fields of it say, at
/// the highest privilege level.
pub fn sev_guest_derived_key(device: impl AsFd, fields: u64, tcb_version: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut request = SnpDerivedKeyRequest {
        root_key_select: 0,
        reserved: 0,
        guest_field_select: fields,
        vmpl: 0,
        guest_svn: 0,
        tcb_version,
    };
    let mut message = Zeroizing::new(vec![0; SNP_KEY_ANSWER_BYTES]);
    let mut call = SnpGuestRequest::over((&raw mut request).expose_provenance(), &mut message);
    // SAFETY: as above, with a `snp_derived_key_req` and the 64 bytes of a `snp_derived_key_resp`.
    let called = unsafe { ioctl(device, Updater::<SNP_GET_DERIVED_KEY, _>::new(&mut call)) };
    call.outcome(called)?;
    Ok(message)
}

/// `NSM_IOCTL_RAW`: one request of AWS's security module, and its answer; both are CBOR.
pub fn nsm(device: impl AsFd, request: &[u8]) -> io::Result<Vec<u8>> {
    if request.len() > NSM_REQUEST_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a request of more than 4 KiB"));
    }
    let mut request = request.to_vec();
    let mut answer = vec![0; NSM_ANSWER_BYTES_MAX];
    let mut call = NsmRaw { request: NsmBuffer::over(&mut request), response: NsmBuffer::over(&mut answer) };
    // SAFETY: the opcode is the one that the header gives for this structure, which points to two buffers of the lengths that it says; both live
    // until the call has returned, and nothing else refers to them meanwhile.
    unsafe { ioctl(device, Updater::<NSM_IOCTL_RAW, _>::new(&mut call)) }?;
    let length = usize::try_from(call.response.len).unwrap_or(usize::MAX);
    if length > answer.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer longer than its buffer"));
    }
    answer.truncate(length);
    Ok(answer)
}

impl SnpGuestRequest {
    fn over(request: usize, message: &mut [u8]) -> Self {
        let (req_data, resp_data) = (request as u64, address(message));
        Self { msg_version: MESSAGE_VERSION, req_data, resp_data, fw_error: 0, vmm_error: 0 }
    }

    /// Firmware and hypervisor have a word of their own, besides the kernel's `EIO`.
    fn outcome(&self, called: rustix::io::Result<()>) -> io::Result<()> {
        let kernel = called.map_err(io::Error::from);
        if (self.fw_error, self.vmm_error) == (0, 0) {
            return kernel;
        }
        let said = kernel.err().map_or_else(String::new, |error| format!("{error}: "));
        let (firmware, vmm) = (self.fw_error, self.vmm_error);
        Err(io::Error::other(format!("{said}the firmware says {firmware:#x}, the hypervisor {vmm:#x}")))
    }
}

impl NsmBuffer {
    fn over(bytes: &mut [u8]) -> Self {
        Self { addr: address(bytes), len: bytes.len() as u64 }
    }
}

/// Exposed, so that what the kernel writes there counts as written.
fn address(bytes: &mut [u8]) -> u64 {
    bytes.as_mut_ptr().expose_provenance() as u64
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::mem::{align_of, offset_of, size_of};

    use super::*;

    /// `_IOWR(type, number, size)` as `asm-generic/ioctl.h` puts it together.
    fn both_ways(kind: u8, number: u8, bytes: usize) -> Opcode {
        (3 << 30) | ((bytes as Opcode) << 16) | (Opcode::from(kind) << 8) | Opcode::from(number)
    }

    #[test]
    fn structures_lie_in_memory_as_the_kernel_s_headers_say() {
        assert_eq!((size_of::<SnpReportRequest>(), offset_of!(SnpReportRequest, vmpl)), (96, 64));
        assert_eq!(offset_of!(SnpReportRequest, reserved), 68);
        assert_eq!((size_of::<SnpExtendedReportRequest>(), align_of::<SnpExtendedReportRequest>()), (112, 8));
        let certificates =
            [offset_of!(SnpExtendedReportRequest, certs_address), offset_of!(SnpExtendedReportRequest, certs_len)];
        assert_eq!(certificates, [96, 104]);
        assert_eq!((size_of::<SnpDerivedKeyRequest>(), align_of::<SnpDerivedKeyRequest>()), (32, 8));
        let key = [
            offset_of!(SnpDerivedKeyRequest, guest_field_select),
            offset_of!(SnpDerivedKeyRequest, vmpl),
            offset_of!(SnpDerivedKeyRequest, guest_svn),
            offset_of!(SnpDerivedKeyRequest, tcb_version),
        ];
        assert_eq!(key, [8, 16, 20, 24]);
        assert_eq!((size_of::<SnpGuestRequest>(), align_of::<SnpGuestRequest>()), (32, 8));
        let pointers = [offset_of!(SnpGuestRequest, req_data), offset_of!(SnpGuestRequest, resp_data)];
        assert_eq!(pointers, [8, 16]);
        // Bits 31..0 of `exitinfo2` are the firmware's: its first four bytes, as everything that runs these devices is little-endian.
        let errors = [offset_of!(SnpGuestRequest, fw_error), offset_of!(SnpGuestRequest, vmm_error)];
        assert_eq!(errors, [24, 28]);
        assert_eq!((size_of::<NsmRaw>(), offset_of!(NsmRaw, response), offset_of!(NsmBuffer, len)), (32, 16, 8));
    }

    #[test]
    fn request_numbers_are_those_of_the_headers() {
        assert_eq!((SNP_GET_REPORT, SNP_GET_EXT_REPORT), (both_ways(b'S', 0, 32), both_ways(b'S', 2, 32)));
        assert_eq!((SNP_GET_REPORT, SNP_GET_DERIVED_KEY), (0xc020_5300, 0xc020_5301));
        assert_eq!((SNP_GET_EXT_REPORT, NSM_IOCTL_RAW), (0xc020_5302, 0xc020_0a00));
    }

    #[test]
    fn what_is_no_such_device_answers_with_an_error() {
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        let no_device = Some(25);
        assert_eq!(sev_guest_report(&null, &[1; 64], 0).unwrap_err().raw_os_error(), no_device);
        assert_eq!(sev_guest_extended_report(&null, &[1; 64], 0).err().unwrap().raw_os_error(), no_device);
        assert_eq!(sev_guest_derived_key(&null, 1, 0).unwrap_err().raw_os_error(), no_device);
        assert_eq!(nsm(&null, b"request").unwrap_err().raw_os_error(), no_device);
        assert_eq!(nsm(&null, &[0; 0x1001]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_word_of_firmware_or_hypervisor_is_an_error_whatever_the_kernel_says() {
        let failed = SnpGuestRequest { fw_error: 0x16, vmm_error: 1, ..SnpGuestRequest::over(0, &mut []) };
        for called in [Ok(()), Err(rustix::io::Errno::IO)] {
            let text = failed.outcome(called).unwrap_err().to_string();
            assert!(text.contains("firmware says 0x16") && text.contains("hypervisor 0x1"), "{text}");
        }
        let well = SnpGuestRequest::over(0, &mut []);
        assert!(well.outcome(Ok(())).is_ok() && well.outcome(Err(rustix::io::Errno::IO)).is_err());
    }
}
