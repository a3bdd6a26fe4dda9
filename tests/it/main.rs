//! Tests of a house from outside, over real sockets, one module for each feature; tests of its parts with
//! the same means; and tests that hold documents and sources against the product.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod access;
mod action_client;
mod admission;
mod berry;
mod builtin;
mod cached_replies;
#[cfg(feature = "cli")]
mod capture;
mod cli;
mod control_access;
mod control_api;
mod control_listings;
mod cors;
mod determinism;
mod device_docs;
mod device_modbus;
mod device_rulings;
mod device_tables;
mod fleet;
mod guides;
#[cfg(all(unix, feature = "cli"))]
mod files;
mod house;
mod idle_devices;
mod house_api;
mod largest;
mod live;
mod load;
#[cfg(feature = "mdns")]
mod mdns;
#[cfg(feature = "mqtt")]
mod meter_time;
#[cfg(feature = "mqtt")]
mod mqtt;
#[cfg(feature = "mqtt")]
mod mqtt_broker;
mod modbus_frames;
mod module_order;
mod mqtt_settings;
mod network;
mod openapi;
mod outbound;
mod peer_slaves;
mod peer_targets;
mod power;
#[cfg(all(feature = "cli", target_os = "linux"))]
mod process;
#[cfg(feature = "cli")]
mod recorded;
mod report;
mod reset;
mod result_codes;
mod scenario;
mod scenario_documents;
mod sd_card;
mod settings;
mod settings_properties;
mod shared_port;
mod slaves;
mod speeds;
mod state;
mod support;
mod surface_faults;
mod surface_http;
mod system;
mod unread;
mod variables;
