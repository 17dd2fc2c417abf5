//! The control socket as `curl --unix-socket` would use it.

use super::http::{Client, Response};
use super::server::Server;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;

impl Server {
    /// A connection to the control socket.
    pub fn control(&self) -> Client {
        self.try_control().expect("the control socket")
    }

    /// A connection to the control socket, or why there is none.
    pub fn try_control(&self) -> io::Result<Client> {
        Client::connect_unix(&self.runtime().join("ctl.sock"))
    }

    /// One GET on the control socket.
    pub fn control_get(&self, target: &str) -> Response {
        self.control().ask("GET", target)
    }

    /// One POST of JSON on the control socket.
    pub fn control_post(&self, target: &str, fields: &str, body: &str) -> Response {
        let mut client = self.control();
        let fields = format!("Content-Type: application/json\r\n{fields}");
        client.request("POST", target, &fields, body.as_bytes());
        client.response()
    }

    /// One DELETE with JSON on the control socket.
    pub fn control_delete(&self, target: &str, body: &str) -> Response {
        let mut client = self.control();
        client.request("DELETE", target, "Content-Type: application/json\r\n", body.as_bytes());
        client.response()
    }

    /// The attempts to change the configuration, newest first.
    pub fn attempts(&self) -> Vec<Value> {
        rows(&self.control_get("/history"), "attempts")
    }

    /// The row of `GET /apps` of one app.
    pub fn app_called(&self, name: &str) -> Value {
        let apps = rows(&self.control_get("/apps"), "apps");
        let found = apps.iter().find(|app| app["id"] == name);
        found.unwrap_or_else(|| panic!("{name} in {apps:?}")).clone()
    }

    /// The shims' pids of an app's workers.
    pub fn pids_of(&self, app: &str) -> Vec<u64> {
        let workers = self.workers();
        let own = workers.iter().filter(|worker| worker["appId"] == app);
        own.map(|worker| worker["pid"].as_u64().expect("a pid")).collect()
    }

    /// The rows of `GET /workers`.
    pub fn workers(&self) -> Vec<Value> {
        rows(&self.control_get("/workers"), "workers")
    }

    /// The ready ones among them.
    pub fn ready_workers(&self) -> Vec<Value> {
        let mut workers = self.workers();
        workers.retain(|worker| worker["state"] == "ready");
        workers
    }

    /// The only row of `GET /apps`.
    pub fn app(&self) -> Value {
        let mut apps = rows(&self.control_get("/apps"), "apps");
        assert_eq!(apps.len(), 1, "one app: {apps:?}");
        apps.remove(0)
    }

    /// The rows of this app in `GET /workers`, those left out whose pool is on its way out.
    pub fn workers_of(&self, app: &str) -> Vec<Value> {
        let mut workers = self.workers();
        workers.retain(|worker| worker["appId"] == app && worker["state"] != "draining");
        workers
    }

    /// The processes of this app by worker, with their generation.
    pub fn family(&self, app: &str) -> BTreeMap<u64, (u64, u64)> {
        let number = |row: &Value, name: &str| row[name].as_u64().expect("a number");
        let rows = self.workers_of(app);
        let of =
            |row| (number(row, "workerId"), (number(row, "appPid"), number(row, "generation")));
        rows.iter().map(of).collect()
    }

    /// Requests waiting for a worker.
    pub fn queue_depth(&self) -> u64 {
        self.app()["queueDepth"].as_u64().expect("a queue depth")
    }

    /// Requests at workers.
    pub fn inflight(&self) -> u64 {
        self.app()["inflight"].as_u64().expect("a number in flight")
    }
}

#[track_caller]
fn rows(response: &Response, name: &str) -> Vec<Value> {
    assert_eq!(response.status, 200, "{response:?}");
    let body = response.json();
    assert_eq!(body["ok"], true, "{body}");
    body[name].as_array().unwrap_or_else(|| panic!("{name} in {body}")).clone()
}
