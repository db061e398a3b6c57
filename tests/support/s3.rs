//! A store that speaks S3: moto's, from PyPI, which `tests/setup.sh` puts under `target/`.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use uuid::Uuid;

/// A running store. Ends when the value goes, or this process.
pub struct S3 {
    child: Child,
    pub url: String,
}

impl S3 {
    pub fn start() -> S3 {
        super::server::encrypt();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join("target/moto/bin/python");
        assert!(python.exists(), "tests/setup.sh was not run: {} is missing", python.display());
        let mut child = Command::new(python)
            .arg(root.join("tests/support/s3.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // What it thinks of requests that it cannot serve; they are judged by its answers.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // What it is built with has a banner of its own.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let url = lines.find(|line| line.starts_with("http://")).expect("the store did not start");
        S3 { child, url }
    }

    /// A new bucket.
    pub async fn bucket(&self) -> String {
        let name = format!("objects-{}", Uuid::new_v4());
        let made = reqwest::Client::new().put(format!("{}/{name}", self.url)).send().await.unwrap();
        assert_eq!(made.status(), 200);
        name
    }

    /// The variables that a server needs to get here.
    pub fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ENDPOINT_URL", self.url.clone()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "anybody".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "anything".to_owned()),
        ]
    }

    /// The names of uploads in parts that are neither complete nor given up.
    pub async fn unfinished(&self, bucket: &str) -> Vec<String> {
        let url = format!("{}/{bucket}?uploads", self.url);
        let told = reqwest::get(url).await.unwrap().error_for_status().unwrap().text().await.unwrap();
        told.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
