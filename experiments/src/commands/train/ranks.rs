//! `coppice train` as one of several processes.

use anyhow::Result;
use coppice_models::device::DeviceChoice;
use coppice_models::distributed::group::{HAS_NCCL, Meeting};
use coppice_models::distributed::{Launch, World};
use coppice_upcycle::train::parallel::Ranks;
use coppice_upcycle::train::recipe::ParallelConfig;
use tch::Device;

use crate::common::open_device;

/// The device of this process: of several on a machine each has the GPU of its own number, where there are GPUs and NCCL, or they are
/// asked for.
pub fn device(choice: DeviceChoice, launch: Option<&Launch>) -> Result<Device> {
    match (choice, launch) {
        (DeviceChoice::Cuda(_), Some(launch)) => open_device(DeviceChoice::Cuda(launch.local_rank)),
        (DeviceChoice::Auto, Some(_)) if !HAS_NCCL => open_device(DeviceChoice::Cpu),
        (DeviceChoice::Auto, Some(launch)) => match open_device(DeviceChoice::Auto)? {
            Device::Cuda(_) => open_device(DeviceChoice::Cuda(launch.local_rank)),
            other => Ok(other),
        },
        (choice, _) => open_device(choice),
    }
}

/// Meets the other processes of a launch; alone without one.
pub fn join(launch: Option<Launch>, config: &ParallelConfig, device: Device) -> Result<Ranks> {
    let Some(launch) = launch else { return Ok(Ranks::alone()) };
    let serves = launch.rank == 0 && !launch.agent_store;
    let meeting = Meeting { address: launch.master_addr, port: launch.master_port, serves };
    let world = World::join(meeting, launch.rank, launch.world_size, Ranks::timeout(config))?;
    Ok(Ranks::of(&world, config, device)?)
}
