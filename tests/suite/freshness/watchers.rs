//! Readers that alternate between instances never see an older state than before.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::future::join_all;

use super::world::A;
use crate::harness::server::Site;
use crate::harness::until;
use crate::stories::on_both_stacks;

on_both_stacks!(a_reader_who_goes_from_instance_to_instance_never_goes_back_in_time);

async fn a_reader_who_goes_from_instance_to_instance_never_goes_back_in_time(site: Site) {
    sell_before_watchers(&site, async |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_never_go_back_in_time_while_redis_comes_and_goes() {
    let mut site = Site::migrated().await;
    let mut redis = site.redis.take().unwrap();
    sell_before_watchers(&site, async |sold| match sold % 20 {
        3 => redis.pause(),
        8 => redis.resume(),
        10 => redis.fill_with_rubbish(&[]).await,
        13 => redis.kill(),
        17 => redis.restart().await,
        _ => {}
    })
    .await;
}

/// Sells sixty seats on two instances, one after another, while readers alternate between the
/// instances. No read shows fewer sold seats than were acknowledged before its request, or than the
/// same reader saw before, and each answer adds up. `meanwhile` gets the number of sold seats.
async fn sell_before_watchers(site: &Site, mut meanwhile: impl AsyncFnMut(usize)) {
    let instances = [site.start().await, site.start().await];
    let admin = instances[A].admin().await;
    let event = instances[A].event(&admin, 60).await;
    let people = instances[A].people(60).await;
    let (sold, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let reads = [const { AtomicU64::new(0) }; 4];
    let box_office = async {
        for (turn, person) in people.iter().enumerate() {
            instances[turn % 2].book(event, person).await.expect(201);
            sold.fetch_add(1, Ordering::AcqRel);
            meanwhile(turn).await;
            if turn % 5 == 0 {
                let before = reads.each_ref().map(|reads| reads.load(Ordering::Acquire));
                let again = || reads.iter().zip(before).all(|(reads, before)| reads.load(Ordering::Acquire) > before);
                until("every watcher to read again", async || again()).await;
            }
        }
        over.store(true, Ordering::Release);
    };
    let watchers = (0..4_usize).map(|watcher| {
        let (instances, admin, sold, over, reads) = (&instances, &admin, &sold, &over, &reads);
        async move {
            let (mut seen, mut turn) = (0, watcher);
            while !over.load(Ordering::Acquire) {
                let (instance, least) = (&instances[turn % 2], seen.max(sold.load(Ordering::Acquire)));
                seen = match (watcher + turn / 2) % 4 {
                    0 | 1 => {
                        let detail = instance.detail(event).await;
                        let count = detail["registration_count"].as_u64().unwrap();
                        assert_eq!(detail["available_seats"], 60 - count, "{detail}");
                        count
                    }
                    2 => {
                        let query = ["sort=-available_seats", "sort=title"][turn % 2];
                        let list = instance.get(&format!("/api/events?{query}")).send().await.expect(200).json();
                        60 - list["data"][0]["available_seats"].as_u64().unwrap()
                    }
                    _ => {
                        let path = format!("/api/events/{event}/registrations?status=confirmed&limit=1");
                        let answer = instance.get(&path).by(admin).send().await.expect(200);
                        answer.header("x-total-count").parse().unwrap()
                    }
                };
                assert!(least <= seen, "{seen} sold after {least}");
                turn += 1;
                reads[watcher].fetch_add(1, Ordering::AcqRel);
            }
        }
    });
    tokio::join!(join_all(watchers), box_office);
    assert!(reads.iter().all(|reads| reads.load(Ordering::Acquire) > 10), "{reads:?} reads are no watch");
    for instance in instances {
        assert_eq!(instance.detail(event).await["available_seats"], 0);
        instance.stop().await;
    }
}
