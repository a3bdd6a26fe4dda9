//! What the house does, seen from outside: over real sockets, one module a feature.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod access;
mod admission;
mod builtin;
mod cli;
mod control_api;
mod cors;
mod determinism;
mod guides;
mod harness;
mod house;
mod outside_requests;
mod outside_rig;
mod outside_slaves;
mod outside_targets;
mod result_codes;
mod scenario;
mod settings;
mod slaves;
mod surface_faults;
mod surface_http;
mod surface_kit;
