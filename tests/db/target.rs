//! Connecting to servers of others: TLS, and what is refused.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use basewright::db::{Embedded, Replication, Session, Target, check_server};

use crate::support::{database, folder};

async fn session(url: &str) -> Result<tokio_postgres::Client, basewright::db::DbError> {
    Target::parse(url, &Session::default()).unwrap().connect().await
}

async fn walsender(url: &str) -> Result<Replication, basewright::db::DbError> {
    Replication::connect(&Target::parse(url, &Session::default()).unwrap()).await
}

#[tokio::test]
async fn the_runtime_role_is_accepted_and_a_superuser_only_when_allowed() {
    let database = database().await;
    let server = check_server(&database.connect().await, false).await.unwrap();
    assert_eq!((server.role.as_str(), server.superuser), ("basewright_runtime", false));
    let admin = database.connect_admin().await;
    let refused = check_server(&admin, false).await.unwrap_err().to_string();
    assert!(refused.contains("superuser"), "{refused}");
    check_server(&admin, true).await.unwrap();
}

/// A server on TCP that speaks TLS only, with a certificate for `localhost` of an authority of our own.
#[tokio::test]
async fn tls_is_used_and_certificates_are_checked_as_the_url_asks() {
    let data = folder("tls");
    let ours = Path::new(env!("CARGO_BIN_EXE_basewright"));
    let embedded = Embedded::start(&data, Some(ours)).unwrap();
    let cluster = data.join("postgres");
    let owner = fs::metadata(&cluster).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/db/tls");
    for name in ["server.pem", "server.key"] {
        let copy = cluster.join(name);
        fs::copy(fixtures.join(name), &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&copy, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let admin = session(&embedded.admin_url("postgres")).await.unwrap();
    for setting in [
        "listen_addresses = '127.0.0.1'".to_owned(),
        format!("port = {port}"),
        "ssl = on".to_owned(),
        "ssl_cert_file = 'server.pem'".to_owned(),
        "ssl_key_file = 'server.key'".to_owned(),
    ] {
        admin.batch_execute(&format!("alter system set {setting}")).await.unwrap();
    }
    admin
        .batch_execute(
            "create role remote login replication password 'hush'; \
             create role clear login replication password 'hush'; \
             set password_encryption = 'md5'; \
             create role hashed login replication password 'hush'",
        )
        .await
        .unwrap();
    drop(admin);
    let program = crate::db::embedded::program(&cluster);
    embedded.stop();
    // Its port is no longer the one that our own set-up asks for, so this one is run by hand.
    let hba = "hostssl all clear 127.0.0.1/32 password\n\
               hostssl all hashed 127.0.0.1/32 md5\n\
               hostssl all all 127.0.0.1/32 scram-sha-256\n";
    fs::write(cluster.join("pg_hba.conf"), hba).unwrap();
    let mut server = crate::db::embedded::run_by_hand(&program, &cluster).await;

    let ca = fixtures.join("ca.pem");
    let url = |host: &str, rest: &str| format!("postgresql://remote:hush@{host}:{port}/postgres{rest}");
    let verified = format!("?sslmode=require&sslrootcert={}", ca.display());
    for (url, works) in [
        (url("localhost", ""), true),
        (url("localhost", "?sslmode=no-verify"), true),
        (url("localhost", &verified), true),
        // No authority that this machine trusts has signed it.
        (url("localhost", "?sslmode=require"), false),
        // The certificate is for another name.
        (url("127.0.0.1", &verified), false),
        // The server takes nothing in the clear.
        (url("localhost", "?sslmode=disable"), false),
        (url("localhost", &verified).replace("hush", "wrong"), false),
        (url("localhost", "").replace("remote", "clear"), true),
        (url("localhost", "").replace("remote", "clear").replace("hush", "wrong"), false),
        (url("localhost", "").replace("remote", "hashed"), true),
        (url("localhost", "").replace("remote", "hashed").replace("hush", "wrong"), false),
        (url("localhost", "").replace(":hush", ""), false),
        // The first place has nobody.
        (url("localhost:1,localhost", ""), true),
    ] {
        // The walsender's connection is our own, and is let in or refused as the driver's is.
        match walsender(&url).await {
            Ok(mut link) => {
                assert!(works, "{url} should be refused");
                let rows =
                    link.query("select ssl from pg_stat_ssl where pid = pg_backend_pid()").await.unwrap();
                assert_eq!(rows, [[Some("t".to_owned())]], "{url}");
            }
            Err(e) => assert!(!works, "{url}: {e}"),
        }
        match session(&url).await {
            Ok(client) => {
                assert!(works, "{url} should be refused");
                let row = client
                    .query_one("select ssl from pg_stat_ssl where pid = pg_backend_pid()", &[])
                    .await
                    .unwrap();
                assert!(row.get::<_, bool>(0), "{url}");
            }
            Err(e) => assert!(!works, "{url}: {e}"),
        }
    }
    // In order, so that it frees its shared memory.
    let pid = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    server.wait().unwrap();
    fs::remove_dir_all(data).unwrap();
}
