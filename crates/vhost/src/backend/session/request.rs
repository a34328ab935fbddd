//! What each request needs to have been agreed on.

use crate::protocol::{Code, ProtocolFeatures};

/// The features of the protocol without which `request` may not come.
pub(super) const fn needs(request: Code) -> ProtocolFeatures {
    match request {
        Code::GetQueueNum => ProtocolFeatures::MQ,
        Code::SetLogBase | Code::SetLogFd => ProtocolFeatures::LOG_SHMFD,
        Code::SendRarp => ProtocolFeatures::RARP,
        Code::NetSetMtu => ProtocolFeatures::NET_MTU,
        Code::SetBackendReqFd => ProtocolFeatures::BACKEND_REQ,
        Code::SetVringEndian => ProtocolFeatures::CROSS_ENDIAN,
        Code::GetConfig | Code::SetConfig => ProtocolFeatures::CONFIG,
        Code::CreateCryptoSession | Code::CloseCryptoSession => ProtocolFeatures::CRYPTO_SESSION,
        Code::PostcopyAdvise | Code::PostcopyListen | Code::PostcopyEnd => {
            ProtocolFeatures::PAGEFAULT
        }
        Code::GetInflightFd | Code::SetInflightFd => ProtocolFeatures::INFLIGHT_SHMFD,
        Code::ResetDevice => ProtocolFeatures::RESET_DEVICE,
        Code::VringKick => ProtocolFeatures::INBAND_NOTIFICATIONS,
        Code::GetMaxMemSlots | Code::AddMemReg | Code::RemMemReg => ProtocolFeatures::MEM_SLOTS,
        Code::SetStatus | Code::GetStatus => ProtocolFeatures::STATUS,
        Code::GetSharedObject => ProtocolFeatures::SHARED_OBJECT,
        Code::SetDeviceStateFd | Code::CheckDeviceState => ProtocolFeatures::DEVICE_STATE,
        Code::GetFeatures
        | Code::SetFeatures
        | Code::SetOwner
        | Code::ResetOwner
        | Code::SetMemTable
        | Code::SetVringNum
        | Code::SetVringAddr
        | Code::SetVringBase
        | Code::GetVringBase
        | Code::SetVringKick
        | Code::SetVringCall
        | Code::SetVringErr
        | Code::GetProtocolFeatures
        | Code::SetProtocolFeatures
        | Code::SetVringEnable
        | Code::IotlbMsg
        | Code::GpuSetSocket => ProtocolFeatures::empty(),
    }
}
