//! The pipe on which a shim reports its boot, one JSON object a line.

use rip::wire::boot::BootReport;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};

/// Our end of one shim's boot pipe.
pub struct BootPipe {
    pipe: File,
    unread: Vec<u8>,
}

impl BootPipe {
    /// Reads from `pipe`, which must be non-blocking.
    pub fn new(pipe: File) -> Self {
        Self { pipe, unread: Vec::new() }
    }

    /// The reports that have arrived, and whether more may come. A line that is no report is
    /// skipped: an app may have inherited the pipe's number by mistake of a wrapper.
    pub fn read(&mut self) -> (Vec<BootReport>, bool) {
        let mut block = [0; 4096];
        let mut reports = Vec::new();
        loop {
            match self.pipe.read(&mut block) {
                Ok(0) => return (reports, false),
                Ok(count) => self.take(&block[..count], &mut reports),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (reports, true),
                Err(_) => return (reports, false),
            }
        }
    }

    fn take(&mut self, bytes: &[u8], reports: &mut Vec<BootReport>) {
        self.unread.extend_from_slice(bytes);
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            reports.extend(serde_json::from_slice(&line).ok());
        }
        if self.unread.len() > LINE_BYTES {
            self.unread.clear();
        }
    }
}

impl AsRawFd for BootPipe {
    fn as_raw_fd(&self) -> RawFd {
        self.pipe.as_raw_fd()
    }
}

/// A report is one short line.
const LINE_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use rip::wire::boot::BootStage;

    #[test]
    fn reports_are_read_in_pieces_and_rubbish_is_skipped() {
        let file = File::open("/dev/null").expect("there");
        let mut pipe = BootPipe::new(file);
        let mut reports = Vec::new();
        pipe.take(b"rubbish\n{\"report\":\"started\",", &mut reports);
        pipe.take(b"\"appPid\":7}\n{\"report\":\"failed\",\"stage\":\"find\",", &mut reports);
        pipe.take(b"\"errno\":2,\"message\":\"no python3\"}\n", &mut reports);
        let failed = BootReport::Failed {
            stage: BootStage::Find,
            errno: Some(2),
            message: "no python3".to_owned(),
        };
        assert_eq!(reports, [BootReport::Started { app_pid: 7 }, failed]);
    }
}
