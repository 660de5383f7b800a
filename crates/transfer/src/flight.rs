//! Single flight: of all who want one layer in this process, one fetches it and the others wait.
//!
//! Who enters first has the [`Flight`]; who comes later gets [`News`] of it, and looks again when it has
//! landed, however that went: the layer is in the store now, or the next one has the flight. A flight
//! lands when its last holder drops it: the future that fetches and the thread that writes each hold
//! it, so that nobody takes over what a thread still works on, also after a cancelled pull.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// All that is in flight, by what is fetched.
#[derive(Debug)]
pub(crate) struct Flights<K>(Arc<Mutex<HashMap<K, watch::Receiver<u64>>>>)
where
    K: Eq + Hash + Clone;

/// Whether to fetch or to wait.
#[derive(Debug)]
pub(crate) enum Turn<K: Eq + Hash + Clone> {
    /// Fetch it.
    Mine(Flight<K>),
    /// Somebody does.
    Theirs(News),
}

/// What somebody fetches. Clones are holders of the same flight.
#[derive(Debug, Clone)]
pub(crate) struct Flight<K: Eq + Hash + Clone>(Arc<Held<K>>);

#[derive(Debug)]
struct Held<K: Eq + Hash + Clone> {
    flights: Arc<Mutex<HashMap<K, watch::Receiver<u64>>>>,
    key: K,
    position: watch::Sender<u64>,
}

/// How far somebody else's flight is.
#[derive(Debug)]
pub(crate) struct News(watch::Receiver<u64>);

impl<K: Eq + Hash + Clone> Flights<K> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Begins a flight, or says who has begun it.
    pub(crate) fn enter(&self, key: K) -> Turn<K> {
        let mut flights = lock(&self.0);
        if let Some(position) = flights.get(&key) {
            return Turn::Theirs(News(position.clone()));
        }
        let (sender, position) = watch::channel(0);
        flights.insert(key.clone(), position);
        Turn::Mine(Flight(Arc::new(Held {
            flights: Arc::clone(&self.0),
            key,
            position: sender,
        })))
    }

    /// Waits until none is left of those that `are_meant`.
    pub(crate) async fn landed(&self, are_meant: impl Fn(&K) -> bool) {
        loop {
            let one = lock(&self.0)
                .iter()
                .find(|(key, _)| are_meant(key))
                .map(|(_, position)| News(position.clone()));
            match one {
                Some(mut news) => while news.next().await.is_some() {},
                None => return,
            }
        }
    }
}

impl<K: Eq + Hash + Clone> Flight<K> {
    /// Tells those who wait how many bytes have come.
    pub(crate) fn tell(&self, bytes: u64) {
        self.0.position.send_replace(bytes);
    }
}

impl<K: Eq + Hash + Clone> Drop for Held<K> {
    fn drop(&mut self) {
        lock(&self.flights).remove(&self.key);
    }
}

impl News {
    /// How many bytes have come, when that changes; `None` when the flight has landed.
    pub(crate) async fn next(&mut self) -> Option<u64> {
        self.0.changed().await.ok()?;
        Some(*self.0.borrow_and_update())
    }
}

/// A panic elsewhere leaves the table whole: every change is a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn mine(flights: &Flights<u8>, key: u8) -> Flight<u8> {
        match flights.enter(key) {
            Turn::Mine(flight) => flight,
            Turn::Theirs(_) => panic!("somebody has {key}"),
        }
    }

    fn theirs(flights: &Flights<u8>, key: u8) -> News {
        match flights.enter(key) {
            Turn::Mine(_) => panic!("nobody has {key}"),
            Turn::Theirs(news) => news,
        }
    }

    #[tokio::test]
    async fn the_second_waits_with_news_until_the_last_holder_is_gone() {
        let flights = Flights::new();
        let first = mine(&flights, 1);
        let thread = first.clone();
        let mut news = theirs(&flights, 1);
        let _other = mine(&flights, 2);
        first.tell(10);
        assert_eq!(news.next().await, Some(10));
        drop(first);
        let mut late = theirs(&flights, 1);
        thread.tell(20);
        assert_eq!(news.next().await, Some(20));
        // Who comes late learns at once how far it is.
        assert_eq!(late.next().await, Some(20));
        drop(thread);
        assert_eq!((news.next().await, late.next().await), (None, None));
        drop(mine(&flights, 1));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_many_at_once_one_flies_at_a_time_and_each_gets_its_turn() {
        let flights = Arc::new(Flights::new());
        let (flying, flown) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks = [(); 16].map(|()| {
            let (flights, flying, flown) = (
                Arc::clone(&flights),
                Arc::clone(&flying),
                Arc::clone(&flown),
            );
            tokio::spawn(async move {
                loop {
                    match flights.enter(1) {
                        Turn::Theirs(mut news) => while news.next().await.is_some() {},
                        Turn::Mine(_flight) => {
                            assert_eq!(flying.fetch_add(1, Ordering::SeqCst), 0);
                            tokio::task::yield_now().await;
                            flying.fetch_sub(1, Ordering::SeqCst);
                            flown.fetch_add(1, Ordering::SeqCst);
                            return;
                        }
                    }
                }
            })
        });
        for task in tasks {
            task.await.unwrap();
        }
        flights.landed(|_all| true).await;
        assert_eq!(flown.load(Ordering::SeqCst), 16);
    }

    #[tokio::test]
    async fn a_flight_that_is_cancelled_lands() {
        let flights = Arc::new(Flights::new());
        let at = Arc::clone(&flights);
        let task = tokio::spawn(async move {
            let _flight = mine(&at, 1);
            std::future::pending::<()>().await;
        });
        tokio::task::yield_now().await;
        let mut news = theirs(&flights, 1);
        task.abort();
        assert_eq!(news.next().await, None);
        flights.landed(|key| *key == 1).await;
    }
}
