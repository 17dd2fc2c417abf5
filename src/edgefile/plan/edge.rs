//! What of the edge changes at once, and what needs a restart.

use super::{Names, Plan};
use crate::contract::config::{EdgeConfig, EdgeLimits, LogConfig, Phases, TlsConfig, Verify};

/// Enters which settings change, and when. `has_store`: the store of sessions is open by now.
pub(super) fn edge_changes(old: &EdgeConfig, new: &EdgeConfig, has_store: bool, plan: &mut Plan) {
    let EdgeConfig {
        http: _,
        https: _,
        admin: _,
        tls,
        mdns,
        user,
        loops,
        limits,
        phases,
        proxy_protocol,
        trusted_proxies,
        rate_limit,
        underscores,
        verify,
        log,
        publish,
        builtin,
        dashboard,
        spool_dir,
        store,
    } = old;
    let LogConfig { access, json } = log;
    let mut late = Names::default();
    late.note("user", *user != new.user);
    late.note("loops", *loops != new.loops);
    late.note("log.access", *access != new.log.access);
    late.note("log.json", *json != new.log.json);
    late.note("spoolDir", *spool_dir != new.spool_dir);
    late.note("store", has_store && *store != new.store);
    plan.restart_needed = late.0;

    let EdgeLimits { body_bytes, connections, per_address, spool_memory_bytes, spool_disk_bytes } =
        limits;
    let Phases { head, body, idle, write, linger } = phases;
    let Verify { healthy_apps, healthy_upstreams, within } = verify;
    let TlsConfig { redirect_http, cert_dirs, acme, hsts } = tls;
    let mut live = Names::default();
    live.note("limits.bodyBytes", *body_bytes != new.limits.body_bytes);
    live.note("limits.connections", *connections != new.limits.connections);
    live.note("limits.perAddress", *per_address != new.limits.per_address);
    live.note("limits.spoolMemoryBytes", *spool_memory_bytes != new.limits.spool_memory_bytes);
    live.note("limits.spoolDiskBytes", *spool_disk_bytes != new.limits.spool_disk_bytes);
    live.note("phases.headMs", *head != new.phases.head);
    live.note("phases.bodyMs", *body != new.phases.body);
    live.note("phases.idleMs", *idle != new.phases.idle);
    live.note("phases.writeMs", *write != new.phases.write);
    live.note("phases.lingerMs", *linger != new.phases.linger);
    live.note("proxyProtocol", *proxy_protocol != new.proxy_protocol);
    live.note("trustedProxies", *trusted_proxies != new.trusted_proxies);
    live.note("rateLimit", *rate_limit != new.rate_limit);
    live.note("underscores", *underscores != new.underscores);
    live.note("verify.healthyApps", *healthy_apps != new.verify.healthy_apps);
    live.note("verify.healthyUpstreams", *healthy_upstreams != new.verify.healthy_upstreams);
    live.note("verify.withinMs", *within != new.verify.within);
    live.note("publish", *publish != new.publish);
    for ((name, old), (_, new)) in builtin.paths().into_iter().zip(new.builtin.paths()) {
        live.note(&format!("builtin.{name}"), old != new);
    }
    live.note("builtin.open", builtin.open != new.builtin.open);
    live.note("dashboard", *dashboard != new.dashboard);
    live.note("tls.redirectHttp", *redirect_http != new.tls.redirect_http);
    live.note("tls.certDirs", *cert_dirs != new.tls.cert_dirs);
    live.note("tls.acme", *acme != new.tls.acme);
    live.note("tls.hsts", *hsts != new.tls.hsts);
    live.note("store", !has_store && *store != new.store);
    live.note("mdns", *mdns != new.mdns);
    plan.edge = live.0;
}
