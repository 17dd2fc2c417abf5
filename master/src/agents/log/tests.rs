use super::*;
use crate::reactor::mailbox::mailbox;
use crate::sys::fd::pipe_cloexec;
use rip::ids::{AppId, Generation, WorkerId};
use rip::limits::{LOG_BYTES, OUTPUT_BURST_BYTES};
use rip::time::UnixMillis;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::mpsc;

/// A log whose streams are pipes that we read.
struct Bench {
    agent: LogAgent,
    sink: LogSink,
    out: File,
    err: File,
}

impl Bench {
    fn new(json: bool) -> Self {
        let (out_read, out_write) = pipe_cloexec().unwrap();
        let (err_read, err_write) = pipe_cloexec().unwrap();
        let agent = LogAgent::start_on(
            LogSettings { json, quiet: false },
            Outlet::new(out_write).unwrap(),
            Outlet::new(err_write).unwrap(),
        )
        .unwrap();
        Self { sink: agent.sink(), agent, out: out_read.into(), err: err_read.into() }
    }

    /// A worker whose ends we write to: (stdout, stderr).
    fn worker(&self, number: u64) -> (File, File) {
        let (out_read, out_write) = pipe_cloexec().unwrap();
        let (err_read, err_write) = pipe_cloexec().unwrap();
        self.sink.adopt(WorkerId(number), AppId::new("api"), out_read, err_read);
        (out_write.into(), err_write.into())
    }

    fn last_lines(&self, number: u64) -> Vec<String> {
        let mut poll = Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), Token(0)).unwrap();
        let (reply, mut receiver) = mailbox(Arc::new(waker));
        self.sink.last_lines(WorkerId(number), reply);
        poll.poll(&mut Events::with_capacity(4), Some(Duration::from_secs(10))).unwrap();
        let mut mail = Vec::new();
        receiver.drain(&mut mail);
        match mail.pop() {
            Some(ControlMessage::LastLines { worker, lines }) if worker.0 == number => lines,
            _ => panic!("no answer"),
        }
    }

    /// Stops the agent and returns all that it wrote.
    fn stop(self) -> (String, String) {
        let Self { agent, sink, out, err } = self;
        drop(sink);
        let [out, err] = [out, err].map(|mut file| {
            std::thread::spawn(move || {
                let mut text = String::new();
                file.read_to_string(&mut text).map(|_| text)
            })
        });
        agent.stop();
        (out.join().unwrap().unwrap(), err.join().unwrap().unwrap())
    }
}

fn event(number: u64) -> Event {
    Event::WorkerStart {
        app: AppId::new("api"),
        worker_id: WorkerId(number),
        generation: Generation(1),
        pid: 1,
    }
}

/// Runs `work` elsewhere; true when it ends in time.
fn ends(work: impl FnOnce() + Send + 'static) -> bool {
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || {
        work();
        done.send(())
    });
    wait.recv_timeout(Duration::from_secs(20)).is_ok()
}

#[test]
fn each_line_goes_to_its_stream_in_order() {
    let bench = Bench::new(false);
    let mut out = BufReader::new(bench.out.try_clone().unwrap());
    for turn in 0..50 {
        bench.sink.write(format!("turn {turn}\n").as_bytes());
        if turn % 10 == 0 {
            // Sometimes the agent has fallen asleep, sometimes it has not.
            let mut line = String::new();
            while !line.ends_with(&format!("turn {turn}\n")) {
                out.read_line(&mut line).unwrap();
            }
        }
    }
    bench.sink.event(&event(1), UnixMillis(0));
    bench.sink.diagnostic(b"a diagnostic\n");
    drop(out);
    let (_, err) = bench.stop();
    let lines: Vec<_> = err.lines().collect();
    assert!(lines[0].starts_with("rip: worker_start app=api"));
    assert_eq!(lines[1..], ["a diagnostic"]);
}

#[test]
fn a_workers_lines_carry_its_name() {
    let bench = Bench::new(false);
    let (mut out, mut err) = bench.worker(3);
    out.write_all(b"hello\nhalf a").unwrap();
    out.write_all(b" line\r\n").unwrap();
    err.write_all(b"caf\xe9\nno end").unwrap();
    drop((out, err));
    assert_eq!(bench.last_lines(3), ["caf\u{fffd}", "no end"]);
    bench.sink.forget(WorkerId(3));
    assert!(bench.last_lines(3).is_empty());
    let Bench { agent, out, err, .. } = bench;
    agent.stop();
    let read = |mut file: File| {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map(|_| bytes).unwrap()
    };
    assert_eq!(read(out), b"api[w3] hello\napi[w3] half a line\n");
    assert_eq!(read(err), b"api[w3] caf\xe9\napi[w3] no end\n");
}

#[test]
fn as_json_each_line_is_an_object() {
    let bench = Bench::new(true);
    let (mut out, err) = bench.worker(3);
    out.write_all(b"say \"hi\"\x07\n").unwrap();
    drop((out, err));
    bench.sink.event(&event(3), UnixMillis(0));
    assert!(bench.last_lines(3).is_empty());
    let (out, err) = bench.stop();
    let line: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(line["app"], "api");
    assert_eq!(line["worker"], 3);
    assert_eq!(line["stream"], "stdout");
    assert_eq!(line["line"], "say \"hi\"\u{7}");
    let event: serde_json::Value = serde_json::from_str(&err).unwrap();
    assert_eq!(event["event"], "worker_start");
}

#[test]
fn the_last_lines_are_kept_however_many_there_were() {
    let bench = Bench::new(false);
    let (_out, mut err) = bench.worker(1);
    let mut sink = bench.err.try_clone().unwrap();
    let reader = std::thread::spawn(move || io::copy(&mut sink, &mut io::sink()));
    for number in 0..1000 {
        writeln!(err, "line {number}").unwrap();
    }
    let expected: Vec<_> = (980..1000).map(|number| format!("line {number}")).collect();
    assert_eq!(bench.last_lines(1), expected);
    drop(bench);
    reader.join().unwrap().unwrap();
}

#[test]
fn a_reader_that_does_not_read_blocks_nobody_and_the_loss_is_told() {
    let mut bench = Bench::new(false);
    let line = [&[b'x'; 999][..], b"\n"].concat();
    let sink = bench.sink.clone();
    let many = 4 * LOG_BYTES / line.len();
    let (mut worker, _err) = bench.worker(1);
    let flood = line.clone();
    assert!(ends(move || (0..many).for_each(|_| sink.write(&flood))));
    assert!(ends(move || (0..20_000).for_each(|_| worker.write_all(&line).unwrap())));
    assert!(bench.sink.lost_lines() > 0);
    // Events still come through.
    bench.sink.event(&event(7), UnixMillis(0));
    let mut err = BufReader::new(bench.err.try_clone().unwrap());
    let mut line = String::new();
    while !line.contains("workerId=7") {
        line.clear();
        assert!(err.read_line(&mut line).unwrap() > 0);
    }
    // Read on: what comes is whole, and the loss is told.
    let mut out = bench.out.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        text
    });
    line.clear();
    while !line.contains("from=stdout") {
        line.clear();
        assert!(err.read_line(&mut line).unwrap() > 0);
    }
    assert!(line.starts_with("rip: log_dropped ") && line.contains("reason=\"too slow\""));
    bench.out = File::open("/dev/null").unwrap();
    bench.agent.stop();
    let text = reader.join().unwrap();
    assert!(text.lines().all(|line| line.len() == 999 || line.len() == 999 + "api[w1] ".len()));
    assert!(text.len() >= LOG_BYTES);
}

#[test]
fn a_reader_that_is_gone_is_told_once() {
    let mut bench = Bench::new(false);
    bench.out = File::open("/dev/null").unwrap();
    for _ in 0..10 {
        bench.sink.write(b"to nobody\n");
        assert!(bench.last_lines(9).is_empty());
    }
    let sink = bench.sink.clone();
    let (_, err) = bench.stop();
    assert_eq!(sink.lost_lines(), 10);
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.contains("from=stdout") && err.contains("reason=closed"));
}

#[test]
fn a_worker_that_floods_is_read_and_cut_short() {
    let mut bench = Bench::new(false);
    let mut copy = bench.out.try_clone().unwrap();
    let reader = std::thread::spawn(move || io::copy(&mut copy, &mut io::sink()).unwrap());
    let (mut flood, err) = bench.worker(1);
    let text = b"a line of thirty-two bytes, yes\n".repeat(1024);
    let begun = std::time::Instant::now();
    assert!(ends(move || (0..1024).for_each(|_| flood.write_all(&text).unwrap())));
    let (mut other, _) = bench.worker(2);
    other.write_all(b"heard\n").unwrap();
    drop((other, err));
    assert!(bench.last_lines(1).is_empty());
    bench.sink.forget(WorkerId(1));
    bench.out = File::open("/dev/null").unwrap();
    let (_, err) = bench.stop();
    let told = reader.join().unwrap();
    let allowed = OUTPUT_BURST_BYTES + (begun.elapsed().as_secs() + 1) * 1024 * 1024;
    assert!(told <= allowed, "{told} of {allowed}");
    assert!(err.contains("from=w1") && err.contains("reason=\"too fast\""), "{err}");
    assert!(!err.contains("from=w2"));
}

#[test]
fn the_last_lines_outlive_the_pipe_and_the_report() {
    let bench = Bench::new(false);
    let mut told = BufReader::new(bench.err.try_clone().unwrap());
    let (_, mut flood) = bench.worker(3);
    let often = "a line that is written too often\n".repeat(200_000);
    assert!(ends(move || flood.write_all(often.as_bytes()).unwrap()));
    let mut line = String::new();
    while !line.contains("from=w3") {
        line.clear();
        assert!(told.read_line(&mut line).unwrap() > 0);
    }
    std::thread::spawn(move || io::copy(&mut told, &mut io::sink()));
    assert_eq!(bench.last_lines(3).len(), 20);
    bench.sink.forget(WorkerId(3));
    assert!(bench.last_lines(3).is_empty());
}

#[test]
fn a_blocked_reader_does_not_keep_it_from_ending() {
    let bench = Bench::new(false);
    let line = [&[b'x'; 999][..], b"\n"].concat();
    (0..1000).for_each(|_| bench.sink.write(&line));
    let Bench { agent, sink, out, err } = bench;
    assert!(ends(move || agent.stop()));
    assert!(sink.lost_lines() > 0);
    sink.write(b"late\n");
    drop((out, err));
}
