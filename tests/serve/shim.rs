//! Faults between `serve` and its ledger's files: `shim.c`, built here and preloaded there.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The fields of `struct control`, in order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Control {
    /// Each sync takes so many milliseconds longer.
    SyncDelayMs,
    /// So many syncs fail; [`ALL`]: all.
    SyncFailures,
    SyncErrno,
    /// What writes fail with; 0: nothing.
    WriteErrno,
    ClockShiftS,
    /// Counted: syncs asked for.
    Syncs,
    /// Counted: errors given.
    Faults,
}

const FIELDS: usize = 7;
pub(crate) const ALL: i32 = -1;
pub(crate) const EIO: i32 = 5;
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EROFS: i32 = 30;

/// The library; `None`, noted for the test that asks, without a C compiler.
fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let library = LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve/shim.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("shim-{}.so", std::process::id()));
        let built = Command::new("gcc")
            .args(["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .ok()?;
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Some(library)
    });
    if library.is_none() {
        crate::skip::test("gcc is not installed");
    }
    library.as_deref()
}

/// What steers the faults of one `serve`.
pub(crate) struct Shim {
    /// The library, and before whatever else this process itself was started with (`.ci/ahead`).
    preloaded: PathBuf,
    ledger: PathBuf,
    path: PathBuf,
    file: File,
}

impl Shim {
    /// For a ledger in `dir`; nothing is wrong yet.
    pub(crate) fn new(dir: &Path, ledger: &Path) -> Option<Shim> {
        let mut preloaded = library()?.as_os_str().to_owned();
        if let Some(others) = std::env::var_os("LD_PRELOAD") {
            preloaded.push(":");
            preloaded.push(others);
        }
        let preloaded = PathBuf::from(preloaded);
        let path = dir.join("shim");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.write_all_at(&[0; FIELDS * size_of::<i32>()], 0).unwrap();
        Some(Shim { preloaded, ledger: ledger.to_owned(), path, file })
    }

    pub(crate) fn environment(&self) -> [(&str, &Path); 3] {
        [
            ("LD_PRELOAD", &self.preloaded),
            ("TOKENWEIR_SHIM_DIR", &self.ledger),
            ("TOKENWEIR_SHIM_CONTROL", &self.path),
        ]
    }

    pub(crate) fn set(&self, control: Control, value: i32) {
        self.file.write_all_at(&value.to_ne_bytes(), at(control)).unwrap();
    }

    pub(crate) fn get(&self, control: Control) -> i32 {
        let mut bytes = [0; size_of::<i32>()];
        self.file.read_exact_at(&mut bytes, at(control)).unwrap();
        i32::from_ne_bytes(bytes)
    }

    /// Fails syncs with EIO: so many of them, or all.
    pub(crate) fn fail_syncs(&self, count: i32) {
        self.set(Control::SyncErrno, EIO);
        self.set(Control::SyncFailures, count);
    }

    /// Nothing is wrong any more.
    pub(crate) fn heal(&self) {
        for control in
            [Control::SyncDelayMs, Control::SyncFailures, Control::WriteErrno, Control::ClockShiftS]
        {
            self.set(control, 0);
        }
    }
}

fn at(control: Control) -> u64 {
    (control as usize * size_of::<i32>()) as u64
}
