//! Environments as the launchers document them, and ones that somebody set by half.

use super::{Launch, LaunchError, nodes};

const TORCHRUN: &str = "RANK=3 WORLD_SIZE=4 LOCAL_RANK=1 MASTER_ADDR=10.0.0.1 MASTER_PORT=29500";
const SLURM: &str = "SLURM_PROCID=5 SLURM_NTASKS=8 SLURM_LOCALID=1 SLURM_JOB_ID=123456 SLURM_JOB_NODELIST=node[03-07,11]";
const OPEN_MPI: &str = "OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_RANK=0 MASTER_ADDR=head MASTER_PORT=4000";
const HYDRA: &str = "PMI_RANK=1 PMI_SIZE=2 MPI_LOCALRANKID=1 MASTER_ADDR=head MASTER_PORT=4000";

/// Reads `NAME=value` pairs; of a name that stands twice, the last counts.
fn read(environment: &str) -> Result<Option<Launch>, LaunchError> {
    let pairs: Vec<_> = environment.split(' ').filter_map(|pair| pair.split_once('=')).collect();
    Launch::from(|name| pairs.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
}

fn launch(environment: &str) -> Launch {
    read(environment).unwrap().unwrap()
}

fn refusal(environment: &str) -> String {
    read(environment).unwrap_err().to_string()
}

fn expected(rank: usize, world_size: usize, local_rank: usize, master_addr: &str, master_port: u16) -> Launch {
    Launch { rank, world_size, local_rank, master_addr: master_addr.to_owned(), master_port, agent_store: false }
}

#[test]
fn torchrun_names_rank_and_store() {
    assert_eq!(launch(TORCHRUN), expected(3, 4, 1, "10.0.0.1", 29500));
    assert!(launch(&format!("{TORCHRUN} TORCHELASTIC_USE_AGENT_STORE=True")).agent_store);
    assert!(!launch(&format!("{TORCHRUN} TORCHELASTIC_USE_AGENT_STORE=False")).agent_store);
}

#[test]
fn slurm_names_the_first_host_and_a_port_of_the_job() {
    assert_eq!(launch(SLURM), expected(5, 8, 1, "node03", 18_456));
    assert_eq!(launch(&format!("{SLURM} SLURM_LAUNCH_NODE_IPADDR=10.0.0.9")).master_addr, "10.0.0.9");
    let told = launch(&format!("{SLURM} SLURM_LAUNCH_NODE_IPADDR=10.0.0.9 MASTER_ADDR=head MASTER_PORT=4000"));
    assert_eq!((told.master_addr.as_str(), told.master_port), ("head", 4000));
    for job in ["0", "19999", "20000", "4294967295"] {
        assert!((15_000..35_000).contains(&launch(&format!("{SLURM} SLURM_JOB_ID={job}")).master_port), "{job}");
    }
}

#[test]
fn both_kinds_of_mpirun_are_known() {
    assert_eq!(launch(OPEN_MPI), expected(2, 4, 0, "head", 4000));
    assert_eq!(launch(HYDRA), expected(1, 2, 1, "head", 4000));
}

#[test]
fn the_launcher_nearest_to_the_process_wins() {
    assert_eq!(launch(&format!("{SLURM} {OPEN_MPI} {TORCHRUN}")).rank, 3);
    assert_eq!(launch(&format!("{SLURM} {OPEN_MPI}")).rank, 2);
    assert_eq!(launch(&format!("{SLURM} PMI_RANK=0 PMI_SIZE=8")).rank, 5, "srun with PMI");
    assert_eq!(launch(&format!("WORLD_SIZE=8 {SLURM}")).rank, 5, "a part of torchrun's gives way");
}

#[test]
fn one_process_is_no_distributed_run() {
    for environment in [
        "",
        "MASTER_ADDR=head MASTER_PORT=4000",
        "RANK= WORLD_SIZE=",
        "RANK=0 WORLD_SIZE=1",
        "SLURM_NTASKS=8 SLURM_JOB_ID=7",
        "SLURM_PROCID=0 SLURM_NTASKS=1 SLURM_LOCALID=0",
        "OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1",
        "PMI_RANK=0 PMI_SIZE=4",
    ] {
        assert_eq!(read(environment), Ok(None), "{environment}");
    }
}

#[test]
fn what_is_set_by_half_is_named() {
    for (environment, parts) in [
        ("RANK=0", ["RANK is set but", "WORLD_SIZE is not"]),
        ("WORLD_SIZE=2", ["WORLD_SIZE is set but", "RANK is not"]),
        ("LOCAL_RANK=0", ["LOCAL_RANK is set but", "RANK is not"]),
        ("RANK=0 WORLD_SIZE=2", ["RANK is set but", "LOCAL_RANK is not"]),
        ("RANK=0 WORLD_SIZE=2 LOCAL_RANK=0 MASTER_PORT=1", ["RANK is set but", "MASTER_ADDR is not"]),
        ("RANK=0 WORLD_SIZE=2 LOCAL_RANK=0 MASTER_ADDR=a", ["RANK is set but", "MASTER_PORT is not"]),
        ("SLURM_PROCID=0", ["SLURM_PROCID is set but", "SLURM_NTASKS is not"]),
        ("SLURM_PROCID=0 SLURM_NTASKS=2 SLURM_LOCALID=0", ["SLURM_PROCID is set but", "SLURM_JOB_NODELIST) is not"]),
        ("SLURM_PROCID=0 SLURM_NTASKS=2 SLURM_LOCALID=0 MASTER_ADDR=a", ["SLURM_PROCID is set but", "SLURM_JOB_ID) is not"]),
        ("OMPI_COMM_WORLD_RANK=0", ["OMPI_COMM_WORLD_RANK is set but", "OMPI_COMM_WORLD_SIZE is not"]),
        ("PMI_RANK=0 PMI_SIZE=2 MPI_LOCALRANKID=0", ["PMI_RANK is set but", "MASTER_ADDR is not"]),
    ] {
        let told = refusal(environment);
        assert!(parts.iter().all(|part| told.contains(part)), "{environment}: {told}");
    }
}

#[test]
fn mpirun_within_a_slurm_job_still_needs_its_address() {
    let told = refusal(&format!("{SLURM} OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_RANK=0"));
    assert!(told.contains("MASTER_ADDR is not"), "{told}");
}

#[test]
fn values_that_cannot_be_are_named() {
    for (change, parts) in [
        ("RANK=two", ["RANK is \"two\"", "whole number"]),
        ("RANK=-1", ["RANK is \"-1\"", "whole number"]),
        ("RANK=4", ["RANK is 4", "WORLD_SIZE, which is 4"]),
        ("WORLD_SIZE=0", ["RANK is 3", "WORLD_SIZE, which is 0"]),
        ("WORLD_SIZE=1.5", ["WORLD_SIZE is \"1.5\"", "whole number"]),
        ("LOCAL_RANK=4", ["LOCAL_RANK is 4", "WORLD_SIZE, which is 4"]),
        ("MASTER_PORT=0", ["MASTER_PORT is 0", "1 to 65535"]),
        ("MASTER_PORT=65536", ["MASTER_PORT is 65536", "1 to 65535"]),
        ("MASTER_PORT=http", ["MASTER_PORT is \"http\"", "whole number"]),
    ] {
        let told = refusal(&format!("{TORCHRUN} {change}"));
        assert!(parts.iter().all(|part| told.contains(part)), "{change}: {told}");
    }
    assert!(refusal(&format!("{SLURM} SLURM_JOB_NODELIST=node[03")).contains("SLURM_JOB_NODELIST is \"node[03\""));
    assert!(refusal(&format!("{SLURM} SLURM_JOB_ID=x")).contains("SLURM_JOB_ID is \"x\""));
    let both = refusal(&format!("{SLURM} RANK=x WORLD_SIZE=2 LOCAL_RANK=0"));
    assert!(both.contains("RANK is \"x\""), "a whole but wrong environment does not give way: {both}");
}

#[test]
fn the_first_host_of_a_list_keeps_its_zeros() {
    for (list, host) in [
        ("node7", "node7"),
        ("node1,node2", "node1"),
        ("node[03-07,11]", "node03"),
        ("node[11,03-07]", "node11"),
        ("gpu-[9-10].site.org,login1", "gpu-9.site.org"),
        ("rack[2-3]n[001-004],rack9n1", "rack2n001"),
        ("login1,node[1-2]", "login1"),
    ] {
        assert_eq!(nodes::first(list).as_deref(), Some(host), "{list}");
    }
    for list in ["", ",node1", "node[1-2", "node[]", "node[a-b]", "node[-2]", "node]1", "a b"] {
        assert_eq!(nodes::first(list), None, "{list}");
    }
}
