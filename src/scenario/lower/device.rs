//! Lowering of the devices.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use super::super::diagnostics::{Mistake, Mistakes};
use super::super::model::DevicePlan;
use super::super::path::FieldPath;
use super::super::raw;
use super::{LoadContext, Lowered, modbus, site};
use crate::device::FirmwareImage;
use crate::device::actions::Definition;
use crate::device::sd::CardPlan;
use crate::device::{
    AccessPolicy, ActionPolicy, Admission, CallReplyFormat, DeviceId, DigestMode, DigestPolicy,
    Execution, Firmware, Hardware, HttpFailureCode, Identity, License,
};
use crate::limits;
use crate::meter::MeterPlan;
use crate::notation::{shortened, without_bom};

/// Lowers the devices; none if the file has none.
pub(super) fn devices(
    raw: &raw::Scenario,
    meter: &Arc<MeterPlan>,
    context: &LoadContext<'_>,
    mistakes: &mut Mistakes,
) -> Vec<Lowered<DevicePlan>> {
    let root = FieldPath::root();
    if raw.device.is_some() && raw.devices.is_some() {
        let mistake = Mistake::new(root.key("devices"), "both `device` and `devices` are given")
            .help("put the one among the others")
            .related(root.key("device"), "device")
            .on_key();
        mistakes.push(mistake);
    }
    let (written, path_of): (&[raw::Device], Box<dyn Fn(usize) -> FieldPath>) =
        match (&raw.devices, &raw.device) {
            (Some(several), _) => {
                let base = root.key("devices");
                (several, Box::new(move |index| base.index(index)))
            }
            (None, Some(one)) => (std::slice::from_ref(one), Box::new(move |_| root.key("device"))),
            (None, None) => (&[], Box::new(|_| FieldPath::root())),
        };
    if written.len() > limits::DEVICES {
        let message = format!("{} devices; {} can be written out", written.len(), limits::DEVICES);
        let mistake = Mistake::new(FieldPath::root().key("devices"), message)
            .help("for more, describe them once with `fleet`")
            .on_key();
        mistakes.push(mistake);
        return Vec::new();
    }
    let ids = device_ids(written, &path_of, mistakes);
    let lower = |(index, (device, id)): (usize, (&raw::Device, DeviceId))| {
        let path = path_of(index);
        let own = device
            .meter
            .as_ref()
            .map(|own| super::meter::meter(own, &path.key("meter"), context.base_dir, mistakes));
        let mut device = self::device(device, id, &path, context, mistakes);
        device.plan.index = u32::try_from(index).unwrap_or(u32::MAX);
        device.plan.meter = own.map_or_else(|| Arc::clone(meter), Arc::new);
        device
    };
    let mut devices: Vec<Lowered<DevicePlan>> = Vec::with_capacity(written.len());
    for mut device in written.iter().zip(ids).enumerate().map(lower) {
        if let Some(before) = devices.last() {
            device.plan.share_parts_with(&before.plan);
        }
        devices.push(device);
    }
    devices
}

/// Returns the id of each device: its own, or the next one that no device has.
fn device_ids(
    written: &[raw::Device],
    path_of: &dyn Fn(usize) -> FieldPath,
    mistakes: &mut Mistakes,
) -> Vec<DeviceId> {
    let mut owners: HashMap<DeviceId, usize> = HashMap::new();
    for (index, device) in written.iter().enumerate() {
        let Some(id) = &device.id else { continue };
        if let Some(first) = owners.get(&id.0) {
            let mistake =
                Mistake::new(path_of(index).key("id"), format!("two devices have the id {id}"))
                    .help("an id is a MAC address, each device has its own")
                    .related(path_of(*first).key("id"), "first");
            mistakes.push(mistake);
        } else {
            owners.insert(id.0.clone(), index);
        }
    }
    let mut free = (0..).map(DevicePlan::default_id).filter(|id| !owners.contains_key(id));
    let id = |device: &raw::Device| match &device.id {
        Some(id) => id.0.clone(),
        // There are fewer devices than ids, so that there is always a free one.
        None => free.next().unwrap_or_else(|| DevicePlan::default_id(0)),
    };
    written.iter().map(id).collect()
}

pub(super) fn device(
    raw: &raw::Device,
    id: DeviceId,
    path: &FieldPath,
    context: &LoadContext<'_>,
    mistakes: &mut Mistakes,
) -> Lowered<DevicePlan> {
    let mistakes_before = mistakes.len();
    if raw.first_status_id == Some(0) {
        let mistake = Mistake::new(path.key("first_status_id"), "status ids count from 1");
        mistakes.push(mistake);
    }
    let identity = Identity { id, license: raw.license.map_or_else(License::default, license) };
    let firmware = raw.firmware.map_or(Firmware::DEFAULT, |firmware| firmware.0);
    let action_policy = ActionPolicy {
        call_reply_format: match raw.call_route {
            None | Some(raw::CallRoute::Page) => CallReplyFormat::LocationHeader,
            Some(raw::CallRoute::Rest) => CallReplyFormat::JsonBody,
        },
        admission: match raw.admission {
            None | Some(raw::Admission::Fit) => Admission::Partial,
            Some(raw::Admission::All) => Admission::AllOrNothing,
        },
        execution: match raw.execution {
            None | Some(raw::Execution::Sequential) => Execution::Sequential,
            Some(raw::Execution::Parallel) => Execution::Parallel,
        },
        first_status_id: raw.first_status_id,
        http_failure: match raw.http_failure {
            None | Some(raw::HttpFailure::Code) => HttpFailureCode::Negative,
            Some(raw::HttpFailure::Zero) => HttpFailureCode::Zero,
        },
    };
    let site = site::site(raw, path, mistakes);
    let mut config = site::config(raw, (&identity.id, firmware), path, mistakes);
    let map = raw.modbus_map.as_ref();
    config.modbus = modbus::map(map, firmware, &path.key("modbus_map"), mistakes);
    config.script = script(raw, path, mistakes);
    let plan = DevicePlan {
        index: 0,
        fleet_index: None,
        starts_off: false,
        config: Arc::new(config),
        access_policy: Arc::new(access_policy(raw, path, mistakes)),
        meter: Arc::default(),
        site: Arc::new(site),
        hardware: Arc::new(hardware(raw, path, mistakes)),
        identity,
        firmware,
        http: raw.http.map_or(DevicePlan::HTTP, |http| http.0),
        modbus: modbus::server(raw.modbus.as_ref()),
        action_policy,
        actions: actions(raw, path, context, mistakes),
    };
    let valid = mistakes.len() == mistakes_before;
    Lowered { plan, valid }
}

fn access_policy(raw: &raw::Device, path: &FieldPath, mistakes: &mut Mistakes) -> AccessPolicy {
    let digest = raw.digest.as_ref().map_or_else(DigestPolicy::default, |digest| {
        self::digest(digest, &path.key("digest"), mistakes)
    });
    let origins = raw.cors.iter().flat_map(|cors| cors.origins.iter().flatten());
    AccessPolicy { digest, origins: origins.map(|origin| origin.0.clone()).collect() }
}

fn digest(
    raw: &raw::Choice<raw::DigestMode, raw::Digest>,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> DigestPolicy {
    let raw = match raw {
        raw::Choice::Word(mode) => &raw::Digest { mode: Some(*mode), ..raw::Digest::default() },
        raw::Choice::Map(digest) => digest,
    };
    let default = DigestPolicy::default();
    let nonce_life = raw.nonce_life.map_or(default.nonce_life, |life| life.0);
    if nonce_life.is_zero() {
        let mistake =
            Mistake::new(path.key("nonce_life"), "a nonce must be good for longer than 0");
        mistakes
            .push(mistake.help("for one that has always expired, use the effect `stale_nonce`"));
    }
    DigestPolicy {
        mode: match raw.mode {
            None | Some(raw::DigestMode::Tolerant) => DigestMode::Tolerant,
            Some(raw::DigestMode::Strict) => DigestMode::Strict,
        },
        nonce_life,
        nonces: raw.nonces.unwrap_or(default.nonces),
        when_full: raw.when_full.map_or(default.when_full, |when_full| when_full.0),
    }
}

fn hardware(raw: &raw::Device, path: &FieldPath, mistakes: &mut Mistakes) -> Hardware {
    let sd_card = match &raw.sd_card {
        Some(raw::Choice::Word(false)) => None,
        None | Some(raw::Choice::Word(true)) => Some(CardPlan::default()),
        Some(raw::Choice::Map(card)) => Some(sd_card(card, &path.key("sd_card"), mistakes)),
    };
    Hardware {
        reboot_time: raw.reboot_time.map_or(Hardware::REBOOT_TIME, |time| time.0),
        build: raw.build.as_ref().map(|build| build.0.clone()),
        activated: raw.activation_date.map_or(Hardware::ACTIVATED, |at| at.0),
        sd_card,
        images: images(raw, &path.key("images"), mistakes),
        power_model: raw.power_model.unwrap_or(false),
    }
}

fn sd_card(raw: &raw::SdCard, path: &FieldPath, mistakes: &mut Mistakes) -> CardPlan {
    let files = raw.files.iter().flatten();
    let path = path.key("files");
    let mut plan = CardPlan { size: raw.size.unwrap_or(CardPlan::SIZE), ..CardPlan::default() };
    if files.clone().count() > limits::SD_FILES {
        let message = format!("more than {} files", limits::SD_FILES);
        mistakes.push(Mistake::new(path, message).on_key());
        return plan;
    }
    for (name, content) in files.clone() {
        let folder = |other: &String| {
            other.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('/'))
        };
        let is_path = name.split('/').count() <= limits::SD_DEPTH
            && name.split('/').all(crate::device::sd::is_name);
        if !is_path {
            let message = format!("`{}` is no path of a file on the card", shortened(name));
            let mistake = Mistake::new(path.key(name), message)
                .help("expected names joined by `/`, as 20260115.CSV or logs/20260115.CSV")
                .on_key();
            mistakes.push(mistake);
        } else if files.clone().any(|(other, _)| folder(other)) {
            let message = format!("`{}` is a file and a folder", shortened(name));
            mistakes.push(Mistake::new(path.key(name), message).on_key());
        } else {
            plan.files.insert(name.clone(), content.as_str().into());
        }
    }
    plan
}

fn images(raw: &raw::Device, path: &FieldPath, mistakes: &mut Mistakes) -> Vec<FirmwareImage> {
    let written = raw.images.as_deref().unwrap_or_default();
    if written.len() > limits::IMAGES {
        let message = format!("{} images; a device takes {}", written.len(), limits::IMAGES);
        mistakes.push(Mistake::new(path.clone(), message).on_key());
        return Vec::new();
    }
    let image = |(index, image): (usize, &raw::Image)| {
        let path = path.index(index);
        let md5 = image.md5.as_ref().and_then(|text| {
            let sum = md5(text.as_str());
            if sum.is_none() {
                let message = format!("`{}` is no MD5 sum", shortened(text.as_str()));
                let mistake = Mistake::new(path.key("md5"), message);
                mistakes.push(mistake.help("expected 32 hexadecimal digits, as md5sum prints"));
            }
            sum
        });
        if image.name.is_none() && image.size.is_none() && image.md5.is_none() {
            let mistake = Mistake::new(path, "nothing tells this image from others");
            mistakes.push(mistake.help("give its `name`, its `size` or its `md5`"));
        }
        let name = image.name.as_ref().map(|name| name.as_str().to_owned());
        FirmwareImage { name, size: image.size, md5, firmware: image.firmware.0 }
    };
    written.iter().enumerate().map(image).collect()
}

fn md5(text: &str) -> Option<[u8; 16]> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).ok().filter(|_| digits)?;
    Some(number.to_be_bytes())
}

/// Returns the stored Berry script. `None` if it is empty.
fn script(raw: &raw::Device, path: &FieldPath, mistakes: &mut Mistakes) -> Option<Arc<str>> {
    let script =
        raw.script.as_ref().map(raw::PlainText::as_str).filter(|script| !script.is_empty())?;
    if script.len() > limits::SCRIPT_BYTES {
        let (bytes, maximum) = (script.len(), limits::SCRIPT_BYTES);
        let message =
            format!("the script has {bytes} bytes, more than the {maximum} the device takes");
        mistakes.push(Mistake::new(path.key("script"), message));
        return None;
    }
    Some(script.into())
}

fn license(word: raw::License) -> License {
    match word {
        raw::License::Free => License::Free,
        raw::License::Plus => License::Plus,
        raw::License::Pro => License::Pro,
    }
}

fn actions(
    raw: &raw::Device,
    path: &FieldPath,
    context: &LoadContext<'_>,
    mistakes: &mut Mistakes,
) -> Option<Arc<Definition>> {
    match (&raw.actions, &raw.actions_file) {
        (None, None) => None,
        (Some(_), Some(_)) => {
            let mistake = Mistake::new(
                path.key("actions_file"),
                "both `actions` and `actions_file` are given",
            )
            .help("remove one of them")
            .related(path.key("actions"), "actions")
            .on_key();
            mistakes.push(mistake);
            None
        }
        (Some(actions), None) => inline_actions(&actions.0, &path.key("actions"), mistakes),
        (None, Some(file)) => {
            let path = path.key("actions_file");
            match actions_file(file.as_str(), context.base_dir) {
                Ok(definition) => Some(definition),
                Err(messages) => {
                    for message in messages {
                        mistakes.push(Mistake::new(path.clone(), message));
                    }
                    None
                }
            }
        }
    }
}

/// Lowers actions in the scenario itself. Each mistake is reported at its own place.
fn inline_actions(
    value: &serde_json::Value,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> Option<Arc<Definition>> {
    if value.is_null() {
        return None;
    }
    let bytes = value.to_string().len();
    if bytes > limits::DEFINITION_BYTES {
        let message = format!(
            "the definition has {bytes} bytes as JSON, more than the {} the device takes",
            limits::DEFINITION_BYTES
        );
        mistakes.push(Mistake::new(path.clone(), message).on_key());
        return None;
    }
    match Definition::parse_value(value) {
        Ok(definition) => Some(Arc::new(definition)),
        Err(errors) => {
            mistakes.push_problems(value, path, errors);
            None
        }
    }
}

/// Reads a file of actions, as a device exports them.
fn actions_file(
    name: &str,
    base_dir: Option<&std::path::Path>,
) -> Result<Arc<Definition>, Vec<String>> {
    let short_name = shortened(name);
    let base = base_dir.ok_or_else(|| {
        vec![
            "a scenario that is no file has no files beside it; write the actions inline"
                .to_owned(),
        ]
    })?;
    let file = base.join(name);
    // One byte more than allowed shows that a file is too large without reading all of it.
    let mut bytes = Vec::new();
    File::open(&file)
        .and_then(|file| file.take(limits::DEFINITION_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| vec![format!("cannot read {}: {error}", file.display())])?;
    if bytes.len() > limits::DEFINITION_BYTES {
        let maximum = limits::DEFINITION_BYTES;
        let message = format!("{short_name} has more than the {maximum} bytes the device takes");
        return Err(vec![message]);
    }
    let value = serde_json::from_slice(without_bom(&bytes))
        .map_err(|error| vec![format!("{short_name} is not JSON: {error}")])?;
    Definition::parse_value(&value).map(Arc::new).map_err(|errors| {
        errors.into_iter().map(|error| format!("{short_name}: {error}")).collect()
    })
}
