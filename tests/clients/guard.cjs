// Preloaded into clients that run on Node: no connection leaves the loopback address; attempts are noted in a file.
"use strict";
const fs = require("node:fs");
const net = require("node:net");
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|::1|)$/;
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {
  const asked = Array.isArray(given[0]) ? given[0][0] : given[0];
  const host = asked && typeof asked === "object" ? asked.path ? "" : asked.host || "" : typeof given[1] === "string" ? given[1] : "";
  if (!LOOPBACK.test(host)) {
    fs.appendFileSync(process.env.GUARD_FILE, `${host}\n`);
    const refused = new Error(`connect ECONNREFUSED ${host}: nothing but the loopback address is allowed here`);
    this.destroy(Object.assign(refused, { code: "ECONNREFUSED", syscall: "connect" }));
    return this;
  }
  return connect.apply(this, given);
};
