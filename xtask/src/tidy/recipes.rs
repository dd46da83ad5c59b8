//! The recipes of `deploy/`, as far as reading them goes: nobody builds images at every change, so what would stop a build at once, or make an image that
//! nobody should vote in, is found here.
//!
//! mkosi says where each of its settings belongs (its manual, version 26), Gramine's manifests are TOML once their template is filled in.

use super::Finding;
use crate::tree::Tree;

const MKOSI: &str = "deploy/cvm/mkosi.conf";
const MANIFEST: &str = "deploy/gramine/coco.manifest.template";
const DOCKERFILE: &str = "deploy/nitro/Dockerfile";
const UNITS: &str = "deploy/cvm/mkosi.extra/etc/systemd/system/";

/// Settings by section. One that stands elsewhere is ignored or refused, depending on the version.
const SETTINGS: &[(&str, &[&str])] = &[
    ("Distribution", &["Distribution", "Release", "Snapshot", "Mirror"]),
    ("Output", &["Format", "Output", "OutputDirectory", "ImageId", "ImageVersion"]),
    (
        "Content",
        &[
            "Bootable",
            "Packages",
            "RemovePackages",
            "RemoveFiles",
            "WithDocs",
            "CleanPackageMetadata",
            "Locale",
            "RootPassword",
            "KernelCommandLine",
            "ExtraTrees",
            "SourceDateEpoch",
            "MakeInitrd",
        ],
    ),
    ("Validation", &["SecureBoot"]),
];
/// Without these two builders get two images.
const PINNED: &[&str] = &["Snapshot", "SourceDateEpoch"];
/// What fills in the manifest's template, with an example.
const FILLED_IN: &[(&str, &str)] = &[
    ("gramine.libos", "/usr/lib/gramine/libsysdb.so"),
    ("gramine.runtimedir()", "/usr/lib/gramine/runtime/glibc"),
    ("arch_libdir", "/lib/x86_64-linux-gnu"),
    ("coco", "/coco/target/reproducible/coco"),
    ("config_dir", "/etc/coco"),
];

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(text) = tree.text(MKOSI) {
        findings.extend(mkosi(text));
    }
    if let Some(text) = tree.text(MANIFEST) {
        findings.extend(manifest(text));
    }
    if let Some(text) = tree.text(DOCKERFILE) {
        findings.extend(dockerfile(text, tree));
    }
    for (path, text) in tree.files(UNITS, "") {
        findings.extend(unit(path, text));
    }
    findings
}

fn mkosi(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut section, mut seen) = ("", Vec::new());
    for (i, line) in text.lines().enumerate() {
        let found = |rule: String| Finding::new(MKOSI, i + 1, rule);
        if line.is_empty() || line.starts_with(['#', ' ']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
            continue;
        }
        let Some((setting, _)) = line.split_once('=') else {
            findings.push(found("neither a section, nor a setting, nor the rest of one".to_owned()));
            continue;
        };
        let known = SETTINGS.iter().find(|(_, settings)| settings.contains(&setting));
        match known {
            Some((home, _)) if *home == section => seen.push(setting),
            Some((home, _)) => findings.push(found(format!("{setting} belongs to [{home}]"))),
            None => findings.push(found(format!("mkosi has no setting {setting} that is known here"))),
        }
    }
    let missing = PINNED.iter().filter(|setting| !seen.contains(*setting));
    findings
        .extend(missing.map(|setting| Finding::new(MKOSI, 0, format!("{setting} is not set: no two builds agree"))));
    findings
}

fn manifest(template: &str) -> Vec<Finding> {
    let found = |rule: String| vec![Finding::new(MANIFEST, 0, rule)];
    let mut text = template.to_owned();
    for (name, example) in FILLED_IN {
        text = text.replace(&format!("{{{{ {name} }}}}"), example);
    }
    if text.contains("{{") || text.contains("{%") {
        return found("asks for something that deploy/gramine/README.md does not fill in".to_owned());
    }
    let manifest: toml::Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return found(format!("filled in, it is no TOML: {error}")),
    };
    let setting = |path: &[&str]| {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(manifest.get(*first)?, |table, key| table.get(key)).cloned()
    };
    let wanted = [
        (&["sgx", "debug"][..], toml::Value::from(false)),
        (&["sgx", "remote_attestation"], "dcap".into()),
        (&["sys", "insecure__allow_eventfd"], false.into()),
    ];
    let wrong = wanted.into_iter().filter(|(path, value)| setting(path).as_ref() != Some(value));
    wrong.flat_map(|(path, value)| found(format!("{} is not {value}", path.join(".")))).collect()
}

fn dockerfile(text: &str, tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        let rule = match (words.next(), words.next()) {
            (Some("FROM"), Some(image)) if image != "${BASE}" => {
                "takes an image that whoever builds did not name by digest"
            }
            (Some("ARG"), Some(argument)) if argument.starts_with("BASE=") => "has a default for its base image",
            // What is built is not in the repository.
            (Some("COPY"), Some(file)) if !file.starts_with("target/") && tree.text(file).is_none() => {
                "copies a file that is not there"
            }
            _ => continue,
        };
        findings.push(Finding::new(DOCKERFILE, i + 1, rule));
    }
    findings
}

fn unit(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let section = line.starts_with('[') && line.ends_with(']');
        let words = line.is_empty() || line.starts_with('#') || section || line.contains('=');
        if !words {
            findings.push(Finding::new(path, i + 1, "neither a section nor a setting"));
        }
        // A path that is not there stops the unit, unless it is marked; the platforms' differ.
        let unmarked =
            line.starts_with("ReadWritePaths=") && line.split([' ', '=']).any(|path| path.starts_with("/sys/"));
        if unmarked {
            findings.push(Finding::new(path, i + 1, "needs a path that only some platforms have: mark it with `-`"));
        }
    }
    if !text.starts_with("[Unit]\n") {
        findings.push(Finding::new(path, 1, "a unit begins with [Unit]"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn a_setting_in_the_wrong_section_an_unknown_one_and_a_build_that_floats_are_found() {
        let good = "# x\n[Distribution]\nSnapshot=1\n\n[Content]\nSourceDateEpoch=1\nPackages=\n    systemd\n";
        assert_eq!(findings(MKOSI, good), Vec::<String>::new());
        assert_eq!(findings(MKOSI, &good.replace("[Content]", "[Output]")).len(), 3);
        assert_eq!(findings(MKOSI, &good.replace("Packages", "Pakages")).len(), 1);
        assert_eq!(findings(MKOSI, &good.replace("Snapshot=1\n", "")).len(), 1);
    }

    #[test]
    fn a_manifest_must_be_toml_once_filled_in_and_attest() {
        let good = "fs.x = \"file:{{ coco }}\"\nsgx.debug = false\nsgx.remote_attestation = \"dcap\"\nsys.insecure__allow_eventfd = false\n";
        assert_eq!(findings(MANIFEST, good), Vec::<String>::new());
        for broken in ["{{ coco }}", "{{ other }}", "= 1"] {
            assert_eq!(findings(MANIFEST, &format!("{good}{broken}\n")).len(), 1, "{broken}");
        }
        assert_eq!(findings(MANIFEST, &good.replace("dcap", "none")).len(), 1);
        assert_eq!(findings(MANIFEST, &good.replace("debug = false", "debug = true")).len(), 1);
    }

    #[test]
    fn an_image_by_tag_and_a_file_that_is_not_there_are_found() {
        let good = "ARG BASE\nFROM ${BASE}\nCOPY target/reproducible/coco /usr/bin/coco\n";
        assert_eq!(findings(DOCKERFILE, good), Vec::<String>::new());
        let bad = "ARG BASE=debian:13\nFROM debian:13\nCOPY deploy/nitro/begin /usr/bin/begin\n";
        assert_eq!(findings(DOCKERFILE, bad).len(), 3);
    }

    #[test]
    fn a_unit_that_needs_one_platform_s_path_is_found() {
        let unit = |line: &str| findings(&format!("{UNITS}coco.service"), &format!("[Unit]\n[Service]\n{line}\n"));
        assert_eq!(unit("ReadWritePaths=/run/coco -/sys/kernel/config/tsm/report"), Vec::<String>::new());
        assert_eq!(unit("ReadWritePaths=/run/coco /sys/kernel/config/tsm/report").len(), 1);
        assert_eq!(unit("Restart").len(), 1);
    }

    #[test]
    fn the_shell_reads_every_script_of_the_recipes() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for script in ["deploy/cvm/measure", "deploy/cvm/mkosi.postinst.chroot", "deploy/nitro/start"] {
            let status = Command::new("bash").arg("-n").arg(root.join(script)).status().unwrap();
            assert!(status.success(), "{script}");
        }
    }
}
