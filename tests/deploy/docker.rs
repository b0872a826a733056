//! The Dockerfile: what it copies exists, what it starts exists, and it is not root.

use super::{ADMIN_PORT, PORT, check_command, read, root};

/// One instruction with its arguments, continued lines joined.
struct Instruction {
    word: String,
    rest: String,
}

fn instructions() -> Vec<Instruction> {
    let text = read("deploy/docker/Dockerfile");
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let split = |line: &str| {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        Instruction { word: word.to_owned(), rest: rest.trim().to_owned() }
    };
    joined.lines().map(str::trim).filter(|line| !line.is_empty()).map(split).collect()
}

/// The arguments of the last instruction of that name.
fn last(instructions: &[Instruction], word: &str) -> String {
    let found = instructions.iter().rev().find(|instruction| instruction.word == word);
    found.unwrap_or_else(|| panic!("the Dockerfile has no {word}")).rest.clone()
}

/// The exec form: a JSON array. The image has no shell that could read the other form.
fn exec(rest: &str) -> Vec<String> {
    serde_json::from_str(rest).unwrap_or_else(|error| panic!("{rest:?} is not in exec form: {error}"))
}

#[test]
fn copies_what_exists() {
    let mut stages = Vec::new();
    let mut copied = 0;
    for Instruction { word, rest } in &instructions() {
        match word.as_str() {
            "FROM" => stages.extend(rest.split_once(" AS ").map(|(_, stage)| stage.to_owned())),
            "COPY" => {
                let from = rest.split(' ').find_map(|arg| arg.strip_prefix("--from="));
                let mut paths: Vec<_> = rest.split(' ').filter(|arg| !arg.starts_with("--")).collect();
                paths.pop().expect("COPY has a destination");
                match from {
                    Some(stage) => assert!(stages.iter().any(|known| known == stage), "no stage {stage}"),
                    None => paths
                        .iter()
                        .for_each(|path| assert!(root().join(path).exists(), "COPY {path}: not there")),
                }
                copied += 1;
            }
            _ => {}
        }
    }
    assert!(copied >= 2, "sources go in and the binary comes out");
}

#[test]
fn the_binary_is_stripped_on_its_way_into_the_image() {
    // With its tables of names it is three times as large; a panic names its place without them.
    let instructions = instructions();
    let build = instructions.iter().find(|i| i.word == "RUN" && i.rest.contains("cargo build"));
    let build = &build.expect("the program is built").rest;
    assert!(build.contains("--release --locked --bin tokenweir"), "{build}");
    assert!(build.contains("install -D --strip target/release/tokenweir /out/tokenweir"), "{build}");
    assert!(instructions.iter().any(|i| i.word == "COPY" && i.rest.contains(" /out/tokenweir ")));
}

#[test]
fn builds_with_the_toolchain_that_the_crate_asks_for() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("Cargo.toml is TOML");
    let version = manifest["workspace"]["package"]["rust-version"].as_str().expect("it names its toolchain");
    let images = instructions();
    let builder = images.iter().find(|instruction| instruction.word == "FROM").expect("there is a stage");
    assert!(builder.rest.starts_with(&format!("rust:{version}-")), "{} is not Rust {version}", builder.rest);
}

/// Git is not in the image's build, so what is built is told.
#[test]
fn is_told_its_commit() {
    let instructions = instructions();
    let place = |is: &dyn Fn(&Instruction) -> bool| instructions.iter().position(is).expect("it is there");
    let build = place(&|i| i.word == "RUN" && i.rest.contains("cargo build"));
    let text = read("deploy/docker/Dockerfile") + &read("deploy/docker/README.md");
    for name in ["TOKENWEIR_COMMIT", "SOURCE_DATE_EPOCH"] {
        let arg = place(&|i| i.word == "ARG" && i.rest == format!("{name}="));
        assert!(arg < build, "{name} is there when the program is built");
        assert_eq!(
            text.matches(&format!("--build-arg {name}=")).count(),
            2,
            "{name} is given by who follows the text"
        );
        assert!(read("crates/build-stamp/src/lib.rs").contains(&format!("\"{name}\"")), "{name} is read");
    }
}

#[test]
fn starts_what_exists_and_not_as_root() {
    let instructions = instructions();
    let entry = exec(&last(&instructions, "ENTRYPOINT"));
    let [binary] = entry.as_slice() else { panic!("the entry point is the binary alone: {entry:?}") };
    let installed = instructions.iter().any(|i| i.word == "COPY" && i.rest.ends_with(&format!(" {binary}")));
    assert!(installed, "nothing is copied to {binary}");

    let command = exec(&last(&instructions, "CMD"));
    check_command(&command);
    for (flag, port) in [("--listen", PORT), ("--admin-listen", ADMIN_PORT)] {
        let at = command.iter().position(|arg| arg == flag).expect("the image listens beyond loopback");
        assert_eq!(command[at + 1], format!("0.0.0.0:{port}"), "{flag}");
    }
    assert_eq!(last(&instructions, "EXPOSE"), format!("{PORT} {ADMIN_PORT}"));

    let health = last(&instructions, "HEALTHCHECK");
    let probe = exec(health.split_once("CMD ").expect("HEALTHCHECK has a command").1);
    assert_eq!(probe[0], *binary);
    check_command(&probe[1..]);
    assert_eq!(probe[1], "health");

    let user = last(&instructions, "USER");
    let id: u32 =
        user.split(':').next().unwrap_or_default().parse().expect("a numeric user, for runAsNonRoot");
    assert_ne!(id, 0);
    let set = instructions.iter().find(|i| i.word == "ENV" && i.rest.contains("TOKENWEIR_"));
    assert!(set.is_none(), "a variable of the image would win over a mounted configuration file");
}

/// What the compose file mounts is there, under the names by which the other containers read it.
#[test]
fn the_compose_file_mounts_what_there_is() {
    let text = read("deploy/docker/compose.yaml");
    let compose: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).expect("YAML");
    let services = compose["services"].as_mapping().expect("services");
    let mut mounts = Vec::new();
    for (name, service) in services {
        for volume in service["volumes"].as_sequence().into_iter().flatten() {
            let (from, to) = volume.as_str().and_then(|text| text.split_once(':')).expect("FROM:TO");
            match from.strip_prefix("../") {
                Some(path) => assert!(root().join("deploy").join(path).is_dir(), "{from} is not there"),
                None => assert!(compose["volumes"].get(from).is_some(), "{from} is no volume"),
            }
            mounts.push((from, to.trim_end_matches(":ro")));
        }
        for port in service["ports"].as_sequence().into_iter().flatten() {
            assert!(
                port.as_str().is_some_and(|port| port.starts_with("127.0.0.1:")),
                "{name:?} is open to others"
            );
        }
        let image = service["image"].as_str().expect("an image");
        assert!(image == "tokenweir" || image.contains(':'), "{image} may be any version");
    }
    let to = |from: &str| mounts.iter().find(|mount| mount.0 == from).expect("a mount").1;
    let command = services["prometheus"]["command"][0].as_str().expect("a flag");
    assert_eq!(command, format!("--config.file={}/prometheus.yaml", to("../prometheus")));
    let provider = read("deploy/grafana/provisioning/dashboards/tokenweir.yaml");
    assert!(
        provider.contains(&format!("path: {}}}", to("../grafana"))),
        "dashboards are looked for elsewhere"
    );
    let source = read("deploy/grafana/provisioning/datasources/prometheus.yaml");
    assert!(source.contains("url: http://prometheus:9090\n"));
}
