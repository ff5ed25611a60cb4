//! Lines of orders, one for each event.

use std::collections::{HashMap, VecDeque};

use domain::EventId;

/// Orders in the lines of their events. A line is served by one lane at a time, so orders of an event
/// are decided in the order they came.
#[derive(Debug)]
pub(super) struct Queue<T> {
    lines: HashMap<EventId, Line<T>>,
    /// Events with a line that nobody serves, the one that waited longest first.
    ready: VecDeque<EventId>,
    waiting: usize,
}

#[derive(Debug)]
struct Line<T> {
    orders: VecDeque<T>,
    served: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { lines: HashMap::new(), ready: VecDeque::new(), waiting: 0 }
    }
}

impl<T> Queue<T> {
    /// How many orders wait in all lines together.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many orders wait in the line of an event.
    pub(super) fn length(&self, event: EventId) -> usize {
        self.lines.get(&event).map_or(0, |line| line.orders.len())
    }

    /// Whether there is a line that nobody serves.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Puts an order at the end of its event's line.
    pub(super) fn push(&mut self, event: EventId, order: T) {
        let line = self.lines.entry(event).or_insert_with(|| {
            self.ready.push_back(event);
            Line { orders: VecDeque::new(), served: false }
        });
        line.orders.push_back(order);
        self.waiting += 1;
    }

    /// Takes lines that nobody serves, up to `most` orders. They are served until [`Queue::done`].
    pub(super) fn take(&mut self, most: usize) -> Vec<(EventId, Vec<T>)> {
        let mut room = most;
        let mut taken = Vec::new();
        while room > 0
            && let Some(event) = self.ready.pop_front()
        {
            if let Some(line) = self.lines.get_mut(&event) {
                line.served = true;
            }
            let orders = self.more(event, room);
            room -= orders.len();
            taken.push((event, orders));
        }
        taken
    }

    /// Takes up to `most` orders of a line that is being served.
    pub(super) fn more(&mut self, event: EventId, most: usize) -> Vec<T> {
        let Some(line) = self.lines.get_mut(&event) else { return Vec::new() };
        let orders: Vec<_> = line.orders.drain(..line.orders.len().min(most)).collect();
        self.waiting -= orders.len();
        orders
    }

    /// A line is not served any more.
    pub(super) fn done(&mut self, event: EventId) {
        let Some(line) = self.lines.get_mut(&event) else { return };
        line.served = false;
        if line.orders.is_empty() {
            self.lines.remove(&event);
        } else {
            self.ready.push_back(event);
        }
    }

    /// Keeps only some of the orders.
    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        for line in self.lines.values_mut() {
            line.orders.retain(&keep);
        }
        self.waiting = self.lines.values().map(|line| line.orders.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: u64) -> EventId {
        EventId::new(id).unwrap()
    }

    #[test]
    fn a_line_keeps_its_order_and_is_served_by_one_at_a_time() {
        let mut queue = Queue::default();
        queue.push(event(1), 'a');
        queue.push(event(1), 'b');
        assert_eq!(queue.take(1), [(event(1), vec!['a'])]);
        queue.push(event(1), 'c');
        assert!(queue.take(9).is_empty(), "somebody serves it");
        assert_eq!(queue.more(event(1), 9), ['b', 'c']);
        queue.done(event(1));
        assert!(!queue.has_ready() && queue.waiting() == 0 && queue.lines.is_empty());
    }

    #[test]
    fn a_long_line_lets_the_others_pass_after_its_turn() {
        let mut queue = Queue::default();
        for order in 0..5 {
            queue.push(event(1), order);
        }
        queue.push(event(2), 9);
        assert_eq!(queue.take(3), [(event(1), vec![0, 1, 2])]);
        queue.done(event(1));
        assert_eq!(queue.take(3), [(event(2), vec![9]), (event(1), vec![3, 4])]);
    }

    #[test]
    fn orders_that_are_not_kept_leave_their_line() {
        let mut queue = Queue::default();
        queue.push(event(1), 1);
        queue.push(event(1), 2);
        queue.retain(|order| *order == 2);
        assert_eq!((queue.waiting(), queue.take(9)), (1, vec![(event(1), vec![2])]));
    }
}
