#![allow(clippy::all, clippy::pedantic)]
use std::time::Instant;
use crate::tests::*;
use domain::ports::*;
use sea_orm::{ConnectionTrait, TransactionTrait};

#[tokio::test(flavor = "multi_thread")]
async fn held_file() {
    let store = Store::ready().await;
    let users = store.users(6).await;
    let a = store.event(users[0], "A", 100).await;
    let other = Store::connect(&store.url, &store.wall).await;
    let db = other.0.pools.present().writer.clone();
    let tx = db.begin_with_options(sea_orm::TransactionOptions { sqlite_transaction_mode: Some(sea_orm::SqliteTransactionMode::Immediate), ..Default::default() }).await.unwrap();
    tx.execute_unprepared("UPDATE events SET available_seats = 50").await.unwrap();
    let r = all_at_once(users.iter().map(|&u| { let (sql, a) = (store.sql.clone(), a.clone()); async move { let t = Instant::now(); let r = sql.book(book(u, &a, None)).await.map(|_| ()); let e = t.elapsed(); let t = Instant::now(); let f = Events::find(&sql, a.id).await.unwrap().unwrap(); (e, r, t.elapsed(), f.seats.available()) } }).collect()).await;
    println!("{r:#?}");
    tx.rollback().await.unwrap();
    store.sql.book(book(users[0], &a, None)).await.unwrap();
}
