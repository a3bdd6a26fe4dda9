//! The whole of it over real sockets, a module a feature, in one binary: linking is dear.

mod outside_requests;
mod outside_rig;
mod outside_slaves;
mod outside_targets;
