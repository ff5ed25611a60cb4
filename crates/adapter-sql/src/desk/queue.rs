//! Queues of commands, one for each event.

use std::collections::{HashMap, VecDeque};

use domain::EventId;

/// What waits in a queue.
pub(super) trait Queued {
    /// Whether it is taken without any other of its event.
    fn is_alone(&self) -> bool;
}

/// Commands in the queues of their events. A queue is served by one worker at a time, so commands of an event
/// are decided in the order they came.
#[derive(Debug)]
pub(super) struct EventQueues<T> {
    queues: HashMap<EventId, EventQueue<T>>,
    /// Events with a queue that no worker serves, the one that waited longest first.
    ready: VecDeque<EventId>,
    waiting: usize,
}

#[derive(Debug)]
struct EventQueue<T> {
    commands: VecDeque<T>,
    served: bool,
}

impl<T> Default for EventQueues<T> {
    fn default() -> Self {
        Self { queues: HashMap::new(), ready: VecDeque::new(), waiting: 0 }
    }
}

impl<T: Queued> EventQueues<T> {
    /// How many commands wait in all queues together.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many commands wait in the queue of an event.
    pub(super) fn length(&self, event: EventId) -> usize {
        self.queues.get(&event).map_or(0, |queue| queue.commands.len())
    }

    /// Whether there is a queue that no worker serves.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Puts a command at the end of its event's queue.
    pub(super) fn push(&mut self, event: EventId, command: T) {
        let queue = self.queues.entry(event).or_insert_with(|| {
            self.ready.push_back(event);
            EventQueue { commands: VecDeque::new(), served: false }
        });
        queue.commands.push_back(command);
        self.waiting += 1;
    }

    /// Takes queues that no worker serves, up to `most` commands. They are served until [`EventQueues::done`].
    pub(super) fn take(&mut self, most: usize) -> Vec<(EventId, Vec<T>)> {
        let mut room = most;
        let mut taken = Vec::new();
        while room > 0
            && let Some(event) = self.ready.pop_front()
        {
            if let Some(queue) = self.queues.get_mut(&event) {
                queue.served = true;
            }
            let commands = self.more(event, room);
            room -= commands.len();
            taken.push((event, commands));
        }
        taken
    }

    /// Takes up to `most` commands of a queue that is being served; one that is to be alone, alone.
    pub(super) fn more(&mut self, event: EventId, most: usize) -> Vec<T> {
        let Some(queue) = self.queues.get_mut(&event) else { return Vec::new() };
        let together = queue.commands.iter().take(most).take_while(|command| !command.is_alone()).count();
        let taken = if together == 0 { 1.min(queue.commands.len()) } else { together };
        let commands: Vec<_> = queue.commands.drain(..taken).collect();
        self.waiting -= commands.len();
        commands
    }

    /// A queue is not served any more.
    pub(super) fn done(&mut self, event: EventId) {
        let Some(queue) = self.queues.get_mut(&event) else { return };
        queue.served = false;
        if queue.commands.is_empty() {
            self.queues.remove(&event);
        } else {
            self.ready.push_back(event);
        }
    }

    /// Keeps only some of the commands.
    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        for queue in self.queues.values_mut() {
            queue.commands.retain(&keep);
        }
        self.waiting = self.queues.values().map(|queue| queue.commands.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use domain::sample::event_id;

    use super::*;

    impl Queued for char {
        /// Capitals are.
        fn is_alone(&self) -> bool {
            self.is_uppercase()
        }
    }

    impl Queued for u32 {
        fn is_alone(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_queue_keeps_its_order_and_has_one_worker_at_a_time() {
        let mut queues = EventQueues::default();
        queues.push(event_id(1), 'a');
        queues.push(event_id(1), 'b');
        assert_eq!(queues.take(1), [(event_id(1), vec!['a'])]);
        queues.push(event_id(1), 'c');
        assert!(queues.take(9).is_empty(), "it has a worker");
        assert_eq!(queues.more(event_id(1), 9), ['b', 'c']);
        queues.done(event_id(1));
        assert!(!queues.has_ready() && queues.waiting() == 0 && queues.queues.is_empty());
    }

    #[test]
    fn a_long_queue_lets_the_others_pass_after_each_batch() {
        let mut queues = EventQueues::default();
        for command in 0..5 {
            queues.push(event_id(1), command);
        }
        queues.push(event_id(2), 9);
        assert_eq!(queues.take(3), [(event_id(1), vec![0, 1, 2])]);
        queues.done(event_id(1));
        assert_eq!(queues.take(3), [(event_id(2), vec![9]), (event_id(1), vec![3, 4])]);
    }

    #[test]
    fn commands_that_are_not_kept_leave_their_queue() {
        let mut queues = EventQueues::default();
        queues.push(event_id(1), 1);
        queues.push(event_id(1), 2);
        queues.retain(|command| *command == 2);
        assert_eq!((queues.waiting(), queues.take(9)), (1, vec![(event_id(1), vec![2])]));
    }

    #[test]
    fn a_command_that_is_to_be_alone_is_taken_alone() {
        let mut queues = EventQueues::default();
        for command in ['a', 'b', 'D', 'c'] {
            queues.push(event_id(1), command);
        }
        queues.push(event_id(2), 'D');
        assert_eq!(queues.take(9), [(event_id(1), vec!['a', 'b']), (event_id(2), vec!['D'])]);
        assert_eq!(queues.more(event_id(1), 9), ['D']);
        assert_eq!(queues.more(event_id(1), 9), ['c']);
        assert!(queues.more(event_id(1), 9).is_empty());
    }
}
