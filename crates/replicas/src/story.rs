//! What happened in a run, kept for its reader: lines in order, and the same as a mermaid sequence diagram.

use std::collections::BTreeSet;

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Ticks or milliseconds, as the simulator counts.
    pub at: u64,
    /// Whom it happened to, or who sent.
    pub who: u64,
    /// The receiver, of a message.
    pub to: Option<u64>,
    pub text: String,
}

/// The newest events of a run.
#[derive(Clone, Default, Debug)]
pub struct Story {
    events: Vec<Event>,
}

/// A diagram of more is unreadable.
const DIAGRAM_EVENTS_MAX: usize = 120;

impl Story {
    pub fn push(&mut self, event: Event) {
        self.events.push(event);
    }

    pub fn events(&self) -> &[Event] {
        &self.events
    }

    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.events.iter().map(|Event { at, who, to, text }| match to {
            Some(to) => format!("{at:>9} {who} -> {to}: {text}"),
            None => format!("{at:>9} {who}: {text}"),
        })
    }

    /// The last events as a diagram that GitHub and others draw.
    pub fn mermaid(&self) -> String {
        let last = &self.events[self.events.len().saturating_sub(DIAGRAM_EVENTS_MAX)..];
        let who: BTreeSet<u64> = last.iter().flat_map(|event| [Some(event.who), event.to]).flatten().collect();
        let mut text = "sequenceDiagram\n".to_owned();
        for id in who {
            text.push_str(&format!("    participant {id}\n"));
        }
        for Event { at, who, to, text: what } in last {
            // Mermaid ends a statement at a semicolon and a comment at a hash.
            let what: String = what.chars().map(|c| if ";#\n".contains(c) { ',' } else { c }).collect();
            text.push_str(&match to {
                Some(to) => format!("    {who}->>{to}: {at} {what}\n"),
                None => format!("    Note over {who}: {at} {what}\n"),
            });
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_drawn_with_its_participants_messages_and_notes() {
        let mut story = Story::default();
        story.push(Event { at: 3, who: 1, to: Some(2), text: "append 2..3".to_owned() });
        story.push(Event { at: 4, who: 2, to: None, text: "crashes; at once".to_owned() });
        let diagram = story.mermaid();
        assert!(diagram.starts_with("sequenceDiagram\n    participant 1\n    participant 2\n"), "{diagram}");
        assert!(diagram.contains("    1->>2: 3 append 2..3\n    Note over 2: 4 crashes, at once\n"), "{diagram}");
        assert_eq!(story.lines().count(), 2);
    }
}
