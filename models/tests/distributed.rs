//! Real processes on the loopback device: what they exchange, and what they are told when one is lost or silent.
#![cfg(coppice_c10d)]

mod ranks;

use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

/// Every operation once, on values that tell ranks apart.
#[test]
fn operations() {
    let Some(world) = ranks::world("operations") else {
        ranks::run("operations", 2);
        return ranks::run("operations", 4);
    };
    let (rank, size) = (world.rank as i64, world.size as i64);
    let group = world.group("all", &(0..world.size).collect::<Vec<_>>()).unwrap();
    for kind in [Kind::Float, Kind::Double, Kind::BFloat16, Kind::Int64] {
        let x = Tensor::from_slice(&[rank, 10]).to_kind(kind);
        group.sum(&x).unwrap();
        assert_eq!(x, Tensor::from_slice(&[size * (size - 1) / 2, 10 * size]).to_kind(kind));
    }
    let x = Tensor::from_slice(&[rank, 7]);
    group.broadcast(&x, 1).unwrap();
    assert_eq!(Vec::<i64>::try_from(x).unwrap(), [1, 7]);
    let all = group.gather(&Tensor::from_slice(&[rank, -rank])).unwrap();
    assert_eq!(all, Tensor::stack(&[Tensor::arange(size, (Kind::Int64, Device::Cpu)), -Tensor::arange(size, (Kind::Int64, Device::Cpu))], 1));
    group.barrier().unwrap();
}

/// Rank `r` sends `r + q` rows of value `r` to rank `q`; rows get gradients from where they went.
#[test]
fn rows_go_to_their_ranks_and_gradients_come_back() {
    let name = "rows_go_to_their_ranks_and_gradients_come_back";
    let Some(world) = ranks::world(name) else {
        ranks::run(name, 2);
        return ranks::run(name, 4);
    };
    let (rank, size) = (world.rank as i64, world.size as i64);
    let group = world.group("all", &(0..world.size).collect::<Vec<_>>()).unwrap();
    let counts: Vec<i64> = (0..size).map(|other| rank + other).collect(); // the same both ways
    let rows: i64 = counts.iter().sum();
    let x = Tensor::full([rows, 3], rank, (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let y = group.exchange(&x, &counts, &counts).unwrap();
    let from: Vec<f32> = counts.iter().enumerate().flat_map(|(other, &count)| vec![other as f32; count as usize * 3]).collect();
    assert_eq!(y.detach(), Tensor::from_slice(&from).view([rows, 3]));
    (&y * (rank + 1)).sum(Kind::Float).backward();
    let to: Vec<f32> = counts.iter().enumerate().flat_map(|(other, &count)| vec![other as f32 + 1.0; count as usize * 3]).collect();
    assert_eq!(x.grad(), Tensor::from_slice(&to).view([rows, 3]));
    assert!(group.exchange(&x, &[1], &[1]).is_err());
}

/// Rank 1 dies; the others are told at once, not after the timeout.
#[test]
fn a_lost_rank_is_an_error_in_the_others() {
    let name = "a_lost_rank_is_an_error_in_the_others";
    let Some(world) = ranks::world(name) else {
        let mut all = ranks::start(name, 3);
        let lost = all.remove(1);
        assert!(!lost.wait_with_output().unwrap().status.success());
        return all.into_iter().for_each(|child| assert!(child.wait_with_output().unwrap().status.success()));
    };
    let group = world.group("all", &[0, 1, 2]).unwrap();
    group.barrier().unwrap();
    if world.rank == 1 {
        std::process::abort();
    }
    let begin = Instant::now();
    let error = (0..100).find_map(|_| group.barrier().err()).unwrap().to_string();
    assert!(error.contains("with the other ranks: ") && !error.contains('\n'), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(ranks::TIMEOUT / 2), "{:?}", begin.elapsed());
}

/// Rank 1 sleeps; the other is told after the timeout.
#[test]
fn a_silent_rank_is_an_error_after_the_timeout() {
    let name = "a_silent_rank_is_an_error_after_the_timeout";
    let Some(world) = ranks::world_within(name, Duration::from_secs(3)) else { return ranks::run(name, 2) };
    let group = world.group("all", &[0, 1]).unwrap();
    group.barrier().unwrap();
    if world.rank == 1 {
        return std::thread::sleep(Duration::from_secs(6));
    }
    let begin = Instant::now();
    assert!(group.barrier().is_err());
    assert!(begin.elapsed() > Duration::from_secs(2) && begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
}

#[test]
fn nobody_serving_is_an_error() {
    use coppice_models::distributed::World;
    use coppice_models::distributed::group::Meeting;
    let meeting = Meeting { address: "127.0.0.1".into(), port: 1, serves: false };
    assert!(World::join(meeting, 1, 2, Duration::from_secs(1)).is_err());
}
