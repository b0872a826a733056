//! The manifests: they fit each other, the program, and its times.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_yaml_ng::Value;

use super::{ADMIN_PORT, LIVE, PORT, READY, certs, check_command, files, is_setting, read};

/// Every document of every manifest.
fn documents() -> Vec<Value> {
    let parse = |path| {
        let text = read(path);
        let documents = serde_yaml_ng::Deserializer::from_str(&text);
        documents.map(|one| Value::deserialize(one).expect("a manifest is YAML")).collect::<Vec<_>>()
    };
    files("kubernetes", "yaml").into_iter().flat_map(parse).collect()
}

/// The only document of that kind.
fn only(kind: &str) -> Value {
    let mut found: Vec<_> = documents().into_iter().filter(|document| document["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "one {kind}");
    found.remove(0)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value:?} is no text"))
}

fn list(value: &Value) -> &[Value] {
    value.as_sequence().unwrap_or_else(|| panic!("{value:?} is no list"))
}

/// The pod of the StatefulSet and that of the drain job.
fn pods() -> [Value; 2] {
    ["StatefulSet", "Job"].map(|kind| only(kind)["spec"]["template"].clone())
}

fn container(pod: &Value) -> &Value {
    let containers = list(&pod["spec"]["containers"]);
    assert_eq!(containers.len(), 1);
    &containers[0]
}

fn configuration() -> toml::Table {
    let map = only("ConfigMap");
    text(&map["data"]["tokenweir.toml"]).parse().expect("the configuration is TOML")
}

fn seconds(configuration: &toml::Table, key: &str) -> u64 {
    let value = configuration[key].as_str().expect("a duration is text with a unit");
    value.strip_suffix('s').and_then(|number| number.parse().ok()).expect("in seconds here")
}

#[test]
fn every_document_says_what_it_is_and_is_listed() {
    for document in documents() {
        assert!(document["apiVersion"].is_string() && document["kind"].is_string(), "{document:?}");
        assert!(
            document["kind"] == "Kustomization" || document["metadata"]["name"].is_string(),
            "{document:?}"
        );
    }
    let listed: BTreeSet<String> =
        list(&only("Kustomization")["resources"]).iter().map(|name| text(name).to_owned()).collect();
    let by_hand = ["kustomization.yaml", "drain-job.yaml"];
    let there = files("kubernetes", "yaml")
        .into_iter()
        .map(|path| path.file_name().expect("a file has a name").to_string_lossy().into_owned());
    assert_eq!(listed, there.filter(|name| !by_hand.contains(&name.as_str())).collect());
}

#[test]
fn selectors_find_the_pods_and_only_them() {
    let set = only("StatefulSet");
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&set["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&only("PodDisruptionBudget")["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&only("NetworkPolicy")["spec"]["podSelector"]["matchLabels"], labels);
    assert_ne!(&only("Job")["spec"]["template"]["metadata"]["labels"], labels, "a drain job takes no calls");
    let services: Vec<_> = documents().into_iter().filter(|document| document["kind"] == "Service").collect();
    assert!(services.iter().all(|service| &service["spec"]["selector"] == labels));
    let headless = services.iter().find(|service| service["metadata"]["name"] == set["spec"]["serviceName"]);
    assert_eq!(headless.expect("the set's service exists")["spec"]["clusterIP"], "None");
}

#[test]
fn ports_and_probes_are_the_programs_own() {
    let pod = &pods()[0];
    let container = container(pod);
    let port = |name: &str| {
        let ports = list(&container["ports"]);
        let found = ports.iter().find(|port| port["name"] == name).expect("the port has that name");
        found["containerPort"].as_u64().expect("and a number")
    };
    assert_eq!((port("https"), port("admin")), (u64::from(PORT), u64::from(ADMIN_PORT)));
    for (probe, path) in [("startupProbe", LIVE), ("livenessProbe", LIVE), ("readinessProbe", READY)] {
        let get = &container[probe]["httpGet"];
        assert_eq!((text(&get["path"]), text(&get["port"])), (path, "admin"), "{probe}");
    }
    assert_eq!(pod["metadata"]["annotations"]["prometheus.io/port"], ADMIN_PORT.to_string().as_str());
    let configuration = configuration();
    assert_eq!(configuration["listen"].as_str(), Some(format!("0.0.0.0:{PORT}").as_str()));
    assert_eq!(configuration["admin_listen"].as_str(), Some(format!("0.0.0.0:{ADMIN_PORT}").as_str()));
    let policy = only("NetworkPolicy");
    let let_in = list(&policy["spec"]["ingress"]).iter().flat_map(|rule| list(&rule["ports"]));
    let let_in: Vec<_> = let_in.filter_map(|port| port["port"].as_u64()).collect();
    assert_eq!(let_in, [u64::from(PORT), u64::from(ADMIN_PORT)]);
}

#[test]
fn the_grace_period_covers_the_whole_end() {
    let pod = &pods()[0];
    let wait = container(pod)["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().expect("preStop sleeps");
    let configuration = configuration();
    let end = wait + seconds(&configuration, "drain_timeout") + seconds(&configuration, "flush_timeout");
    let grace = pod["spec"]["terminationGracePeriodSeconds"].as_u64().expect("a grace period is given");
    assert!(grace >= end + 5, "{grace} s for an end that takes {end} s");
}

#[test]
fn the_configuration_has_only_settings_and_mounted_files() {
    let configuration = configuration();
    for pod in &pods() {
        let container = container(pod);
        let args: Vec<_> = list(&container["args"]).iter().map(|arg| text(arg).to_owned()).collect();
        check_command(&args);
        let mounts = list(&container["volumeMounts"]);
        let at = |name: &str| {
            let found = mounts.iter().find(|mount| mount["name"] == name).expect("the volume is mounted");
            text(&found["mountPath"]).to_owned()
        };
        assert_eq!(args[1..], ["--config".to_owned(), at("config")]);
        assert!(configuration["ledger"].as_str().is_some_and(|path| path.starts_with(&at("ledger"))));
        for (key, value) in &configuration {
            assert!(is_setting(key), "no setting {key}");
            let path = value.as_str().unwrap_or_default();
            if key.starts_with("listen_") && key.ends_with("_file") {
                continue; // the certificate is nothing to a drain job: see `calls_come_in_by_tls`
            }
            if key.ends_with("_file") {
                let name =
                    path.strip_prefix(&format!("{}/", at("secrets"))).expect("secrets come from the Secret");
                let made = format!("--from-file={name}=./{name}");
                assert!(read("deploy/kubernetes/README.md").contains(&made), "nobody makes {name}");
            }
        }
        let template = &only("StatefulSet")["spec"]["volumeClaimTemplates"];
        let volumes =
            list(&pod["spec"]["volumes"]).iter().chain(list(template).iter().map(|one| &one["metadata"]));
        let volumes: BTreeSet<_> = volumes.map(|volume| text(&volume["name"]).to_owned()).collect();
        assert!(mounts.iter().all(|mount| volumes.contains(text(&mount["name"]))), "a volume is missing");
    }
}

/// The port that the Service offers to the gateway, the URL that the gateway calls, and what listens there.
#[test]
fn calls_come_in_by_tls_on_the_port_that_the_gateway_calls() {
    let services = documents().into_iter().filter(|document| document["kind"] == "Service");
    let service =
        services.into_iter().find(|one| one["spec"]["type"] == "LoadBalancer").expect("one for calls");
    let [offered] = list(&service["spec"]["ports"]) else { panic!("one port: no second one in clear text") };
    assert_eq!(
        (text(&offered["name"]), offered["port"].as_u64()),
        ("https", Some(443)),
        "what https:// means"
    );

    let pod = &pods()[0];
    let container = container(pod);
    let ports = list(&container["ports"]);
    let target =
        ports.iter().find(|port| port["name"] == offered["targetPort"]).expect("the pod has that port");
    assert_eq!(target["containerPort"].as_u64(), Some(u64::from(PORT)));

    // The certificate comes from a Secret of the kind whose two names are fixed, made as the README says.
    let volume =
        list(&pod["spec"]["volumes"]).iter().find(|volume| volume["name"] == "tls").expect("a volume");
    let secret = text(&volume["secret"]["secretName"]);
    let readme = read("deploy/kubernetes/README.md");
    assert!(
        readme.contains(&format!("kubectl create secret tls {secret} --cert=./tls.crt --key=./tls.key\n"))
    );
    let mount =
        list(&container["volumeMounts"]).iter().find(|mount| mount["name"] == "tls").expect("a mount");
    let configuration = configuration();
    for (key, file) in [("listen_cert_file", "tls.crt"), ("listen_key_file", "tls.key")] {
        let path = format!("{}/{file}", text(&mount["mountPath"]));
        assert_eq!(configuration[key].as_str(), Some(path.as_str()), "{key}");
    }
    // Both READMEs and the backends speak of one host and one port.
    for name in ["backend.json", "backend-member.json"] {
        assert!(
            read(format!("deploy/apim/{name}")).contains("\"https://TOKENWEIR_HOST/"),
            "{name}: no other port"
        );
    }
    assert!(readme.contains("the Service listens on 443") && readme.contains("TOKENWEIR_HOST"));
    assert!(read("deploy/apim/README.md").contains("`https://TOKENWEIR_HOST` on 443"));
}

/// What stands in the ConfigMap, with the words in capitals replaced and every file of the Secrets there, is a
/// configuration that the program takes.
#[test]
fn the_configuration_is_one_that_the_program_takes() {
    let dir = tempfile::tempdir().expect("a folder");
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("a file");
    let authority = certs::Authority::new("an authority");
    let issued = authority.issue(&["tokenweir.example"]);
    put("tls.crt", &issued.cert);
    put("tls.key", &issued.key);
    let secret = "7c1d0e94ba52f3688f06c9d3e1a4b75206fb9d3c81ea47520d96b3fc58a17e24";
    put("caller-shared-secret", secret);
    put("caller-hash-key", secret);
    let hub =
        "Endpoint=sb://contoso.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=c2VjcmV0";
    put("kafka-connection-string", hub);
    let map = only("ConfigMap");
    let folder = dir.path().to_str().expect("a path in UTF-8");
    let shipped = text(&map["data"]["tokenweir.toml"])
        .replace("/etc/tokenweir/secrets", folder)
        .replace("/etc/tokenweir/tls", folder)
        .replace("/var/lib/tokenweir", folder);
    let check = |configuration: &str| {
        put("tokenweir.toml", configuration);
        let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_tokenweir"));
        let check = check.args(["check", "--config"]).arg(dir.path().join("tokenweir.toml")).output();
        let check = check.expect("the binary runs");
        (check.status.code(), String::from_utf8_lossy(&check.stderr).into_owned())
    };
    let (code, said) = check(&shipped.replace("RESOURCE", "contoso-eus2").replace("NAMESPACE", "contoso"));
    assert_eq!(code, Some(0), "{said}");
    // As it is shipped it is nobody's.
    let (code, said) = check(&shipped);
    assert_eq!(code, Some(78), "{said}");
    for placeholder in ["RESOURCE stands for a name of yours", "NAMESPACE stands for a name of yours"] {
        assert!(said.contains(placeholder), "{said}");
    }
}

#[test]
fn all_pods_agree_on_who_an_api_key_is() {
    assert!(only("StatefulSet")["spec"]["replicas"].as_u64().is_some_and(|pods| pods > 1));
    let configuration = configuration();
    assert!(configuration.contains_key("caller_hash_key_file"), "each pod would make up a key of its own");
}

#[test]
fn pods_are_spread_over_zones_and_over_nodes() {
    let set = only("StatefulSet");
    let spec = &set["spec"]["template"]["spec"];
    let spread = list(&spec["topologySpreadConstraints"]);
    let over: Vec<&str> = spread.iter().map(|one| text(&one["topologyKey"])).collect();
    assert_eq!(over, ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]);
    for one in spread {
        assert_eq!(one["maxSkew"].as_u64(), Some(1));
        assert_eq!(&one["labelSelector"]["matchLabels"], &set["spec"]["selector"]["matchLabels"]);
    }
}

#[test]
fn pods_may_do_as_little_as_they_need() {
    for pod in &pods() {
        let spec = &pod["spec"];
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert!(spec["securityContext"]["fsGroup"].as_u64().is_some_and(|group| group > 0));
        assert_eq!(spec["automountServiceAccountToken"], false);
        assert_eq!(spec["enableServiceLinks"], false, "TOKENWEIR_PORT and the like are not settings");
        let own = &container(pod)["securityContext"];
        assert_eq!(own["readOnlyRootFilesystem"], true);
        assert_eq!(own["allowPrivilegeEscalation"], false);
        assert_eq!(list(&own["capabilities"]["drop"]), [Value::from("ALL")]);
    }
}

#[test]
fn a_ledger_is_never_deleted_unasked_and_can_be_drained() {
    let set = only("StatefulSet");
    let kept = &set["spec"]["persistentVolumeClaimRetentionPolicy"];
    assert_eq!((text(&kept["whenDeleted"]), text(&kept["whenScaled"])), ("Retain", "Retain"));
    let template = &list(&set["spec"]["volumeClaimTemplates"])[0];
    let expected =
        format!("{}-{}-ORDINAL", text(&template["metadata"]["name"]), text(&set["metadata"]["name"]));
    let job = only("Job");
    let volumes = list(&job["spec"]["template"]["spec"]["volumes"]);
    let claim = volumes.iter().find_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str());
    assert_eq!(claim, Some(expected.as_str()));
}

/// What the Prometheus operator is given, in a folder of its own.
#[test]
fn the_pods_are_scraped_under_the_names_that_the_rules_count_on() {
    let yaml = |name: &str| -> Value {
        serde_yaml_ng::from_str(&read(format!("deploy/kubernetes/monitoring/{name}"))).expect("YAML")
    };
    let monitor = yaml("pod-monitor.yaml");
    let labels = only("StatefulSet")["spec"]["template"]["metadata"]["labels"].clone();
    assert_eq!(monitor["spec"]["selector"]["matchLabels"], labels);
    let job = text(&monitor["spec"]["jobLabel"]);
    assert_eq!(labels[job], "tokenweir", "the job is what the label says");
    let [endpoint] = list(&monitor["spec"]["podMetricsEndpoints"]) else { panic!("one port") };
    let ports = list(&container(&pods()[0])["ports"]).to_vec();
    assert!(ports.iter().any(|port| port["name"] == endpoint["port"] && port["containerPort"] == ADMIN_PORT));
    let [relabeling] = list(&endpoint["relabelings"]) else { panic!("one relabeling") };
    assert_eq!(text(&relabeling["targetLabel"]), "instance");
    assert_eq!(text(&list(&relabeling["sourceLabels"])[0]), "__meta_kubernetes_pod_name");

    let listed = yaml("kustomization.yaml");
    for name in list(&listed["resources"]) {
        let path = format!("deploy/kubernetes/monitoring/{}", text(name));
        assert!(super::root().join(&path).exists(), "{path}");
    }
    let boards: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(&read("deploy/grafana/kustomization.yaml")).expect("YAML");
    let named: BTreeSet<String> =
        list(&boards["configMapGenerator"][0]["files"]).iter().map(|name| text(name).to_owned()).collect();
    let there = files("grafana", "json").into_iter();
    let there = there.map(|path| path.file_name().expect("a name").to_string_lossy().into_owned());
    assert_eq!(named, there.collect(), "every dashboard is in a ConfigMap");
}
