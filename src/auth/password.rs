//! [`Hashing`]: passwords at rest, worked on by threads of their own; and which passwords are taken at all.
//!
//! To hash a password costs tens of milliseconds and 19 MiB on purpose. A fixed number of threads does it, each in memory
//! that it keeps, at a lower priority than the threads that answer requests: however many want to sign in at once, the
//! memory is bounded, and the others are served.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use unicode_normalization::UnicodeNormalization as _;

use super::refresh::random;
use crate::error::{AuthCode, Code, Error};

/// Longest password, in bytes.
pub const MAX_BYTES: usize = 1_024;
/// Passwords that may wait for a thread. With more, the answer is 503.
const WAITING: usize = 4_096;
/// What a hash costs: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
/// The most memory that a stored hash may ask for: an import is not to take more than the server has.
const MAX_MEMORY_KIB: u32 = 256 << 10;
/// The most that a stored bcrypt hash may cost: about a second. Each more doubles it.
const MAX_BCRYPT_COST: u32 = 14;
/// Characters of a password at which its guesses are counted; longer ones are not to be found in lists.
const LISTED: usize = 40;
/// Below ten to this, a password is among those that are tried first.
const GUESSES_LOG10: f64 = 4.0;
/// By how much the threads give way to others.
const NICE: i32 = 5;

/// What a thread is asked to do.
type Job = Box<dyn FnOnce(&mut Vec<Block>) + Send>;

/// The threads that hash.
#[derive(Clone)]
pub struct Hashing {
    jobs: SyncSender<Job>,
    /// The hash of a password that nobody has: to be compared where there is no user, so that nobody can tell by the time.
    decoy: Arc<str>,
}

/// What came of comparing a password with a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    pub matches: bool,
    /// The hash is weaker than today's: hash the password anew.
    pub is_outdated: bool,
}

impl Hashing {
    /// Starts this many threads.
    ///
    /// # Errors
    /// The machine grants no thread or no random bytes.
    pub fn start(threads: usize) -> std::io::Result<Hashing> {
        let (jobs, queue) = sync_channel::<Job>(WAITING);
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads.max(1) {
            let queue: Arc<Mutex<Receiver<Job>>> = Arc::clone(&queue);
            thread::Builder::new().name(format!("hash-{number}")).spawn(move || {
                // Of this thread alone on Linux. Where it is refused, work goes on at the ordinary priority.
                let _ = rustix::process::nice(NICE);
                let mut memory = Vec::new();
                loop {
                    // One thread waits holding the lock, the others for the lock.
                    let next = queue.lock().recv();
                    match next {
                        Ok(job) => job(&mut memory),
                        Err(_) => return,
                    }
                }
            })?;
        }
        let nobody: [u8; 32] = random().map_err(std::io::Error::other)?;
        let decoy =
            hash(&nobody, &mut Vec::new()).map_err(|fault| std::io::Error::other(fault.to_string()))?;
        Ok(Hashing { jobs, decoy: decoy.into() })
    }

    /// The hash of a password, in PHC format.
    pub async fn hash(&self, password: &str) -> Result<String, Error> {
        let password = normal(password);
        self.run(move |memory| hash(password.as_bytes(), memory)).await?
    }

    /// Compares a password with a stored hash. Without one it takes the same time, and does not match.
    pub async fn compare(&self, password: &str, stored: Option<&str>) -> Result<Compared, Error> {
        let password = normal(password);
        let is_decoy = stored.is_none();
        let stored = stored.unwrap_or(&self.decoy).to_owned();
        let compared = self.run(move |memory| compare(password.as_bytes(), &stored, memory)).await??;
        Ok(Compared { matches: compared.matches && !is_decoy, ..compared })
    }

    /// Whether a password can be taken: long enough, not too long, not among those that everybody tries.
    ///
    /// # Errors
    /// `weak_password`; `details` holds the reasons.
    pub async fn judge(&self, password: &str, min_length: usize) -> Result<(), Error> {
        if password.len() > MAX_BYTES {
            return Err(Error::with(
                AuthCode::ValidationFailed,
                format!("Password cannot be longer than {MAX_BYTES} bytes"),
            ));
        }
        if password.contains('\0') {
            return Err(Error::with(AuthCode::ValidationFailed, "Password cannot hold the character NUL"));
        }
        let password = normal(password);
        let weak = |message: String, reason: &str| {
            Error::with(AuthCode::WeakPassword, message).details(serde_json::json!({ "reasons": [reason] }))
        };
        let length = password.chars().count();
        if length < min_length {
            return Err(weak(format!("Password should be at least {min_length} characters."), "length"));
        }
        if length > LISTED {
            return Ok(());
        }
        let guesses = self.run(move |_| zxcvbn::zxcvbn(&password, &[]).guesses_log10()).await?;
        if guesses < GUESSES_LOG10 {
            return Err(weak(
                "Password is known to be weak and easy to guess, please choose a different one.".to_owned(),
                "pwned",
            ));
        }
        Ok(())
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |memory| {
            // Whoever asked may have gone: then nobody is to pay.
            if !tell.is_closed() {
                let _ = tell.send(work(memory));
            }
        });
        self.jobs.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => {
                Error::with(Code::Unavailable, "Too many want to sign in at once").retry_after(2)
            }
            TrySendError::Disconnected(_) => Error::internal("the threads that hash have ended"),
        })?;
        told.await.map_err(|_| Error::internal("a thread that hashes ended"))
    }
}

/// Is this a hash that an import may bring along?
pub fn is_importable(stored: &str) -> bool {
    bcrypt_cost(stored).is_some_and(|cost| (4..=MAX_BCRYPT_COST).contains(&cost))
        || PasswordHash::new(stored).is_ok_and(|hash| parts(&hash).is_some())
}

/// What is typed on one keyboard and on another is the same password (NFKC).
fn normal(password: &str) -> String {
    password.nfkc().collect()
}

/// What a bcrypt hash says that it costs: the binary logarithm of its rounds. `None` if it is none.
fn bcrypt_cost(stored: &str) -> Option<u32> {
    let rest = ["$2a$", "$2b$", "$2x$", "$2y$"].iter().find_map(|prefix| stored.strip_prefix(prefix))?;
    let (digits, rest) = rest.split_once('$')?;
    let is_bcrypt = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit()) && rest.len() == 53;
    if is_bcrypt { digits.parse().ok() } else { None }
}

fn argon2(algorithm: Algorithm, version: Version, params: Params) -> Argon2<'static> {
    Argon2::new(algorithm, version, params)
}

/// Room for so much work.
fn room<'m>(memory: &'m mut Vec<Block>, params: &Params) -> &'m mut [Block] {
    let blocks = params.block_count();
    if memory.len() < blocks {
        memory.resize(blocks, Block::default());
    }
    &mut memory[..blocks]
}

fn hash(password: &[u8], memory: &mut Vec<Block>) -> Result<String, Error> {
    let salt: [u8; 16] = random().map_err(Error::internal)?;
    let params =
        Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|fault| Error::internal(fault.to_string()))?;
    let mut out = [0; 32];
    argon2(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(password, &salt, &mut out, room(memory, &params))
        .map_err(|fault| Error::internal(fault.to_string()))?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(|_| Error::internal("the parameters"))?,
        salt: Some(Salt::new(&salt).map_err(|_| Error::internal("the salt"))?),
        hash: Some(Output::new(&out).map_err(|_| Error::internal("the hash"))?),
    };
    Ok(hash.to_string())
}

/// The parts of a hash that we can compute.
fn parts(hash: &PasswordHash) -> Option<(Argon2<'static>, Params)> {
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    let version = hash.version.and_then(|version| Version::try_from(version).ok())?;
    let params = Params::try_from(hash).ok()?;
    let sound = params.m_cost() <= MAX_MEMORY_KIB
        && params.t_cost() <= 16
        && hash.salt.is_some()
        && hash.hash.is_some();
    sound.then(|| (argon2(algorithm, version, params.clone()), params))
}

fn compare(password: &[u8], stored: &str, memory: &mut Vec<Block>) -> Result<Compared, Error> {
    if let Some(cost) = bcrypt_cost(stored) {
        // It looks at the first 72 bytes, as whoever made the hash did.
        let matches = cost <= MAX_BCRYPT_COST && bcrypt::verify(password, stored).unwrap_or(false);
        return Ok(Compared { matches, is_outdated: true });
    }
    let unknown = || Error::internal("a stored password hash cannot be read");
    let hash = PasswordHash::new(stored).map_err(|_| unknown())?;
    let (argon2, params) = parts(&hash).ok_or_else(unknown)?;
    let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else { return Err(unknown()) };
    let mut out = vec![0; expected.len()];
    argon2
        .hash_password_into_with_memory(password, salt.as_ref(), &mut out, room(memory, &params))
        .map_err(|fault| Error::internal(fault.to_string()))?;
    let matches = constant_time::verify_slices_are_equal(&out, expected.as_ref()).is_ok();
    let is_outdated = params.m_cost() < MEMORY_KIB || params.t_cost() < PASSES;
    if params.m_cost() > MEMORY_KIB {
        // An import's: not to be kept by this thread for good.
        memory.truncate(MEMORY_KIB as usize);
        memory.shrink_to_fit();
    }
    Ok(Compared { matches, is_outdated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_hash_and_no_other() {
        let hashing = Hashing::start(1).unwrap();
        let stored = hashing.hash("correct horse battery").await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(is_importable(&stored));
        let compare = async |password: &str| hashing.compare(password, Some(&stored)).await.unwrap();
        assert_eq!(compare("correct horse battery").await, Compared { matches: true, is_outdated: false });
        assert!(!compare("correct horse batterx").await.matches);
        assert!(!hashing.compare("correct horse battery", None).await.unwrap().matches);
        assert_ne!(stored, hashing.hash("correct horse battery").await.unwrap());
    }

    #[tokio::test]
    async fn one_password_typed_in_two_ways_is_one() {
        let hashing = Hashing::start(1).unwrap();
        // é as one character and as two; a full-width letter.
        let stored = hashing.hash("caf\u{e9} \u{ff21} of mine").await.unwrap();
        assert!(hashing.compare("cafe\u{301} A of mine", Some(&stored)).await.unwrap().matches);
    }

    #[tokio::test]
    async fn an_imported_hash_is_taken_once_and_then_replaced() {
        let hashing = Hashing::start(1).unwrap();
        let imported = bcrypt::hash("correct horse battery", 4).unwrap();
        assert!(is_importable(&imported));
        let compared = hashing.compare("correct horse battery", Some(&imported)).await.unwrap();
        assert_eq!(compared, Compared { matches: true, is_outdated: true });
        assert!(!hashing.compare("correct horse", Some(&imported)).await.unwrap().matches);
        // One that would keep a thread for minutes.
        let dear = imported.replacen("$04$", "$31$", 1);
        assert!(!is_importable(&dear) && !is_importable(&imported.replacen("$04$", "$15$", 1)));
        assert!(is_importable(&imported.replacen("$04$", "$14$", 1)));
        assert!(!hashing.compare("correct horse battery", Some(&dear)).await.unwrap().matches);
        for bad in
            ["", "secret", "$argon2id$v=19$m=99999999,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo", "$1$abc$def"]
        {
            assert!(!is_importable(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn what_everybody_tries_first_is_refused() {
        let hashing = Hashing::start(1).unwrap();
        for (password, min, expected) in [
            ("short", 10, Some(r#"{"reasons":["length"]}"#)),
            ("password", 6, Some(r#"{"reasons":["pwned"]}"#)),
            ("1234567890", 10, Some(r#"{"reasons":["pwned"]}"#)),
            ("qwertyuiop", 10, Some(r#"{"reasons":["pwned"]}"#)),
            ("correct horse battery", 10, None),
            ("pä\u{df}wort mit Umlaut", 10, None),
        ] {
            let outcome = hashing.judge(password, min).await;
            let reasons = outcome.err().map(|error| error.details.unwrap().to_string());
            assert_eq!(reasons.as_deref(), expected, "{password}");
        }
        assert!(hashing.judge(&"a".repeat(MAX_BYTES + 1), 10).await.is_err());
        assert!(hashing.judge("ten\0letters", 10).await.is_err());
    }
}
