//! What an app answers to a turn: any form, in any pieces.

use crate::seed::Dice;

pub struct Script {
    pub status: u16,
    pub content_type: &'static str,
    rest: Vec<u8>,
    /// It ends as its framing says.
    pub is_whole: bool,
    /// It says nothing at all until somebody gives up.
    pub hangs: bool,
    pub head_sent: bool,
}

impl Script {
    /// An answer whose output and state carry `tag`.
    pub fn new(dice: &mut Dice, tag: u64, now: u64) -> Self {
        let outcome = match dice.weighted(&[(0, 6), (1, 3), (2, 1)]) {
            0 => format!(
                "\"status\":\"finished\",\"output\":{{\"tag\":{tag}}},\"state\":{{\"tag\":{tag}}}"
            ),
            1 => {
                let until = rip::session::moment::print(rip::time::UnixMillis(
                    now + dice.between(1, 20_000),
                ));
                let until =
                    if dice.one_in(2) { format!(",\"until\":\"{until}\"") } else { String::new() };
                format!(
                    "\"status\":\"parked\",\"wait\":{{\"id\":\"w\",\"tag\":{tag}{until}}},\"state\":{{\"tag\":{tag}}}"
                )
            }
            _ => "\"status\":\"contended\",\"current\":7".to_owned(),
        };
        let mut script = Self {
            status: 200,
            content_type: "application/json",
            rest: format!("{{{outcome}}}").into_bytes(),
            is_whole: true,
            hangs: false,
            head_sent: false,
        };
        match dice.weighted(&[(0, 4), (1, 10), (2, 1), (3, 1), (4, 1), (5, 1)]) {
            0 => {}
            1 => {
                let is_sse = dice.one_in(2);
                script.content_type =
                    if is_sse { "text/event-stream" } else { "application/x-ndjson" };
                let mut events: Vec<String> = (0..dice.between(0, 6))
                    .map(|index| format!("{{\"type\":\"delta\",\"text\":\"{tag}.{index}\"}}"))
                    .collect();
                events.push(format!("{{\"type\":\"outcome\",{outcome}}}"));
                let block = |event: &String| match is_sse {
                    true => format!("data: {event}\n\n"),
                    false => format!("{event}\n"),
                };
                script.rest = events.iter().map(block).collect::<String>().into_bytes();
                if dice.one_in(6) {
                    let length = script.rest.len() - dice.between(1, 30) as usize;
                    script.rest.truncate(length);
                    script.is_whole = dice.one_in(2);
                }
            }
            2 => script.status = 500,
            3 => script.status = 401,
            4 => script.rest = b"nonsense".to_vec(),
            _ => script.hangs = true,
        }
        script
    }

    /// The next piece; empty at the end.
    pub fn piece(&mut self, dice: &mut Dice) -> Vec<u8> {
        let length = (dice.between(1, 60) as usize).min(self.rest.len());
        self.rest.drain(..length).collect()
    }
}
