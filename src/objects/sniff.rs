//! What kind of content something is, and what a browser is told of it.
//!
//! The type that is declared is taken without its parameters; a browser may show in place only what is harmless by its
//! type and is of that type by its first bytes. Everything it would run, or draw as markup, is told to be plain text.

/// What content is taken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Type and subtype in lower case, without parameters.
    pub mime: String,
    /// A browser may show it in place.
    pub inline: bool,
}

/// What is not known better (RFC 2046, 4.5.1).
const UNKNOWN: &str = "application/octet-stream";
/// What shows characters and nothing else.
const PLAIN: &str = "text/plain; charset=utf-8";
/// How long each half of a type may be (RFC 6838, 4.2).
const MAX_NAME: usize = 127;

/// How content begins that may be shown in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    Png,
    Jpeg,
    Gif,
    Webp,
    Avif,
    Bmp,
    Mp3,
    Aac,
    Flac,
    Wav,
    Ogg,
    Webm,
    /// ISO base media: MP4, M4A and QuickTime say of each other that they are the same.
    Media,
}

/// The types that may be shown in place, under all their names; of each family first what it is called if nobody says.
const HARMLESS: [(&str, Family); 29] = [
    ("image/png", Family::Png),
    ("image/apng", Family::Png),
    ("image/jpeg", Family::Jpeg),
    ("image/jpg", Family::Jpeg),
    ("image/gif", Family::Gif),
    ("image/webp", Family::Webp),
    ("image/avif", Family::Avif),
    ("image/bmp", Family::Bmp),
    ("image/x-ms-bmp", Family::Bmp),
    ("audio/mpeg", Family::Mp3),
    ("audio/mp3", Family::Mp3),
    ("audio/aac", Family::Aac),
    ("audio/aacp", Family::Aac),
    ("audio/flac", Family::Flac),
    ("audio/x-flac", Family::Flac),
    ("audio/wav", Family::Wav),
    ("audio/wave", Family::Wav),
    ("audio/x-wav", Family::Wav),
    ("audio/vnd.wave", Family::Wav),
    ("audio/ogg", Family::Ogg),
    ("audio/opus", Family::Ogg),
    ("video/ogg", Family::Ogg),
    ("video/webm", Family::Webm),
    ("audio/webm", Family::Webm),
    ("video/mp4", Family::Media),
    ("video/quicktime", Family::Media),
    ("audio/mp4", Family::Media),
    ("audio/m4a", Family::Media),
    ("audio/x-m4a", Family::Media),
];

/// The types of scripts (WHATWG MIME Sniffing 4.6, "JavaScript MIME type"), of styles, and of pages under other names.
/// Types that end in `+xml`, and bodies of several parts, are named by their form.
const ACTIVE: [&str; 26] = [
    "text/html",
    "text/x-server-parsed-html",
    "text/xml",
    "text/xsl",
    "text/css",
    "text/ecmascript",
    "text/javascript",
    "text/javascript1.0",
    "text/javascript1.1",
    "text/javascript1.2",
    "text/javascript1.3",
    "text/javascript1.4",
    "text/javascript1.5",
    "text/jscript",
    "text/livescript",
    "text/x-ecmascript",
    "text/x-javascript",
    "text/vbscript",
    "text/x-component",
    "text/cache-manifest",
    "application/xml",
    "application/ecmascript",
    "application/javascript",
    "application/x-ecmascript",
    "application/x-javascript",
    "application/x-mimearchive",
];

/// Judges content by what is declared of it and by its first bytes.
///
/// Where nothing is declared, or nothing that is a type, the bytes decide.
pub fn judge(declared: Option<&str>, head: &[u8]) -> Judged {
    let mime = declared.and_then(essence).filter(|declared| declared != UNKNOWN);
    let mime = mime.unwrap_or_else(|| found(head).to_owned());
    let inline = family(&mime).is_some_and(|family| begins(family, head));
    Judged { mime, inline }
}

/// The type and subtype of a declared type, in lower case and without parameters. `None` if it is none: something that
/// can be read as two types is not one of them.
pub fn essence(declared: &str) -> Option<String> {
    let essence = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    is_essence(&essence).then_some(essence)
}

fn is_essence(text: &str) -> bool {
    let Some((kind, subtype)) = text.split_once('/') else { return false };
    [kind, subtype].iter().all(|name| {
        // RFC 6838, 4.2, "restricted-name".
        (1..=MAX_NAME).contains(&name.len())
            && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    })
}

/// The `Content-Type` under which content goes out that is taken for `mime`.
pub fn served(mime: &str, inline: bool) -> &str {
    if inline && family(mime).is_some() {
        return mime;
    }
    let Some((kind, subtype)) = mime.split_once('/') else { return PLAIN };
    let is_markup = ACTIVE.contains(&mime)
        || subtype.ends_with("+xml")
        // Bodies of parts that have types of their own.
        || matches!(kind, "multipart" | "message")
        || mime == "text/plain";
    let is_canonical = is_essence(mime) && !mime.bytes().any(|byte| byte.is_ascii_uppercase());
    if is_markup || !is_canonical { PLAIN } else { mime }
}

/// What the first bytes say, `application/octet-stream` if they say nothing.
fn found(head: &[u8]) -> &'static str {
    let known = HARMLESS.iter().find(|(_, family)| begins(*family, head));
    // Of the many types of one container its brand tells more than its form.
    match (infer::get(head), known) {
        (Some(kind), _) if is_essence(kind.mime_type()) => kind.mime_type(),
        (_, Some((mime, _))) => mime,
        _ => UNKNOWN,
    }
}

fn family(mime: &str) -> Option<Family> {
    HARMLESS.iter().find(|(known, _)| *known == mime).map(|(_, family)| *family)
}

/// Whether content begins as its family does.
fn begins(family: Family, head: &[u8]) -> bool {
    let at = |offset: usize, bytes: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(bytes));
    let byte = |offset: usize| head.get(offset).copied().unwrap_or_default();
    match family {
        Family::Png => at(0, b"\x89PNG\r\n\x1a\n"),
        Family::Jpeg => at(0, b"\xff\xd8\xff"),
        Family::Gif => at(0, b"GIF87a") || at(0, b"GIF89a"),
        Family::Webp => at(0, b"RIFF") && at(8, b"WEBPVP8"),
        Family::Wav => at(0, b"RIFF") && at(8, b"WAVE"),
        // The length of the second header, of all versions; two letters alone could be a text.
        Family::Bmp => {
            at(0, b"BM") && matches!(byte(14), 12 | 16 | 40 | 52 | 56 | 64 | 108 | 124) && at(15, &[0, 0, 0])
        }
        // With tags before it, or a frame of layer III with a bit rate and a sampling rate that exist.
        Family::Mp3 => {
            let frame = byte(0) == 0xff && byte(1) & 0xe6 == 0xe2 && byte(1) & 0x18 != 0x08;
            let rates = !matches!(byte(2) >> 4, 0 | 15) && byte(2) & 0x0c != 0x0c;
            (at(0, b"ID3") && byte(3) < 0x10) || (frame && rates)
        }
        // A frame of ADTS: twelve bits of one, any version, layer 0.
        Family::Aac => byte(0) == 0xff && byte(1) & 0xf6 == 0xf0,
        Family::Flac => at(0, b"fLaC"),
        Family::Ogg => at(0, b"OggS\0"),
        // A document whose type stands in its first header.
        Family::Webm => {
            let header = head.get(..head.len().min(64)).unwrap_or_default();
            at(0, b"\x1a\x45\xdf\xa3") && header.windows(7).any(|bytes| bytes == b"\x42\x82\x84webm")
        }
        Family::Avif => {
            let end = (usize::from(byte(2)) << 8 | usize::from(byte(3))).min(head.len());
            let brands = head.get(8..end).unwrap_or_default();
            at(0, &[0, 0])
                && at(4, b"ftyp")
                && brands.chunks_exact(4).any(|brand| matches!(brand, b"avif" | b"avis"))
        }
        Family::Media => {
            at(4, b"ftyp") || (at(0, &[0, 0]) && (at(4, b"moov") || at(4, b"wide") || at(4, b"mdat")))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0";
    const GIF: &[u8] = b"GIF89a\x01\0\x01\0";
    const WEBP: &[u8] = b"RIFF\x24\0\0\0WEBPVP8 ";
    const AVIF: &[u8] = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf";
    /// Its first brand is that of HEIF; that it is AVIF stands among the others.
    const MIF: &[u8] = b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf";
    const BMP: &[u8] = b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0";
    const ID3: &[u8] = b"ID3\x04\0\0\0\0\0\x21";
    const MP3: &[u8] = b"\xff\xfb\x90\x64\0\0";
    const AAC: &[u8] = b"\xff\xf1\x50\x80\0\0";
    const FLAC: &[u8] = b"fLaC\0\0\0\x22";
    const WAV: &[u8] = b"RIFF\x24\0\0\0WAVEfmt ";
    const OGG: &[u8] = b"OggS\0\x02\0\0\0\0\0\0\0\0";
    const WEBM: &[u8] = b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08\x42\x82\x84webm\x42\x87";
    const MKV: &[u8] = b"\x1a\x45\xdf\xa3\xa3\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08\x42\x82\x88matroska";
    const MP4: &[u8] = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41";
    const M4A: &[u8] = b"\0\0\0\x20ftypM4A \0\0\x02\0isomiso2avc1mp41";
    const MOV: &[u8] = b"\0\0\0\x14ftypqt  \0\0\x02\0qt  ";
    const SVG: &[u8] = b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>";
    const HTML: &[u8] = b"<!DOCTYPE html><script>alert(1)</script>";
    const XML: &[u8] = b"<?xml version=\"1.0\"?><x/>";
    const PDF: &[u8] = b"%PDF-1.7\n";
    const ZIP: &[u8] = b"PK\x03\x04\x14\0\0\0\x08\0";
    const TEXT: &[u8] = b"Dear reader,\n";

    #[test]
    fn content_is_what_is_declared_and_is_shown_if_it_is_that() {
        #[rustfmt::skip]
        let rows: &[(Option<&str>, &[u8], &str, bool)] = &[
            // What may be shown, under each of its names.
            (Some("image/png"), PNG, "image/png", true),
            (Some("image/apng"), PNG, "image/apng", true),
            (Some("image/jpeg"), JPEG, "image/jpeg", true),
            (Some("image/jpg"), JPEG, "image/jpg", true),
            (Some("image/gif"), GIF, "image/gif", true),
            (Some("image/webp"), WEBP, "image/webp", true),
            (Some("image/avif"), AVIF, "image/avif", true),
            (Some("image/avif"), MIF, "image/avif", true),
            (Some("image/bmp"), BMP, "image/bmp", true),
            (Some("audio/mpeg"), ID3, "audio/mpeg", true),
            (Some("audio/mpeg"), MP3, "audio/mpeg", true),
            (Some("audio/mp3"), MP3, "audio/mp3", true),
            (Some("audio/aac"), AAC, "audio/aac", true),
            (Some("audio/flac"), FLAC, "audio/flac", true),
            (Some("audio/wav"), WAV, "audio/wav", true),
            (Some("audio/x-wav"), WAV, "audio/x-wav", true),
            (Some("audio/ogg"), OGG, "audio/ogg", true),
            (Some("video/ogg"), OGG, "video/ogg", true),
            (Some("video/webm"), WEBM, "video/webm", true),
            (Some("audio/webm"), WEBM, "audio/webm", true),
            (Some("video/mp4"), MP4, "video/mp4", true),
            (Some("audio/mp4"), M4A, "audio/mp4", true),
            (Some("audio/x-m4a"), M4A, "audio/x-m4a", true),
            (Some("video/quicktime"), MOV, "video/quicktime", true),
            // One container, another name in the same family.
            (Some("video/mp4"), MOV, "video/mp4", true),
            (Some("video/quicktime"), MP4, "video/quicktime", true),
            // Upper case and parameters change nothing.
            (Some("IMAGE/PNG"), PNG, "image/png", true),
            (Some("Image/Png; charset=utf-8"), PNG, "image/png", true),
            (Some(" image/png ;q=1"), PNG, "image/png", true),
            (Some("text/html;charset=utf-7"), HTML, "text/html", false),
            (Some("text/html;charset="), HTML, "text/html", false),
            (Some("text/html;"), HTML, "text/html", false),
            (Some("image/svg+xml;charset=utf-8"), SVG, "image/svg+xml", false),
            (Some("image/png;text/html"), HTML, "image/png", false),
            // Never shown, whatever the bytes are.
            (Some("image/svg+xml"), SVG, "image/svg+xml", false),
            (Some("image/svg+xml"), PNG, "image/svg+xml", false),
            (Some("text/html"), PNG, "text/html", false),
            (Some("application/xhtml+xml"), PNG, "application/xhtml+xml", false),
            (Some("application/pdf"), PDF, "application/pdf", false),
            (Some("application/javascript"), GIF, "application/javascript", false),
            (Some("text/plain"), TEXT, "text/plain", false),
            (Some("image/tiff"), b"II*\0\x08\0\0\0", "image/tiff", false),
            (Some("image/x-icon"), b"\0\0\x01\0\x01\0", "image/x-icon", false),
            (Some("application/ogg"), OGG, "application/ogg", false),
            // Declared harmless, but the bytes say something else or nothing.
            (Some("image/png"), HTML, "image/png", false),
            (Some("image/png"), SVG, "image/png", false),
            (Some("image/png"), JPEG, "image/png", false),
            (Some("image/png"), b"", "image/png", false),
            (Some("image/png"), b"\x89PNG", "image/png", false),
            (Some("image/jpeg"), b"\xff\xd8", "image/jpeg", false),
            (Some("image/gif"), b"GIF<script>alert(1)</script>", "image/gif", false),
            (Some("image/bmp"), b"BM<script>alert(1)</script>", "image/bmp", false),
            (Some("image/webp"), WAV, "image/webp", false),
            (Some("image/webp"), b"<!--    WEBPVP8 --><script>", "image/webp", false),
            (Some("image/avif"), MP4, "image/avif", false),
            (Some("video/webm"), MKV, "video/webm", false),
            (Some("video/webm"), MP4, "video/webm", false),
            (Some("audio/mpeg"), AAC, "audio/mpeg", false),
            (Some("audio/aac"), MP3, "audio/aac", false),
            (Some("audio/mpeg"), b"\xff\xff\xff\xff", "audio/mpeg", false),
            // A page with the beginning of a picture is a picture.
            (Some("image/gif"), b"GIF89a/*<script>alert(1)</script>*/", "image/gif", true),
            (Some("text/html"), b"GIF89a<script>alert(1)</script>", "text/html", false),
            // What can be read as two types is none: the bytes decide.
            (Some("image/png, text/html"), PNG, "image/png", true),
            (Some("image/png, text/html"), HTML, "text/html", false),
            (Some("text/html, image/png"), JPEG, "image/jpeg", true),
            (Some("image/png text/html"), HTML, "text/html", false),
            (Some("image/*"), PNG, "image/png", true),
            (Some("*/*"), PDF, "application/pdf", false),
            (Some("image"), GIF, "image/gif", true),
            (Some("image/"), GIF, "image/gif", true),
            (Some("/png"), GIF, "image/gif", true),
            (Some("image/png/x"), GIF, "image/gif", true),
            (Some("im\u{130}ge/png"), TEXT, UNKNOWN, false),
            (Some("image/png\r\nSet-Cookie: a=b"), TEXT, UNKNOWN, false),
            (Some("image/png\0"), TEXT, UNKNOWN, false),
            (Some("\"image/png\""), TEXT, UNKNOWN, false),
            // Nothing is declared.
            (None, PNG, "image/png", true),
            (None, WEBP, "image/webp", true),
            (None, AVIF, "image/avif", true),
            (None, MP4, "video/mp4", true),
            (None, MOV, "video/quicktime", true),
            (None, M4A, "audio/m4a", true),
            (None, MP3, "audio/mpeg", true),
            (None, WEBM, "video/webm", true),
            (None, HTML, "text/html", false),
            (None, XML, "text/xml", false),
            (None, SVG, UNKNOWN, false),
            (None, PDF, "application/pdf", false),
            (None, ZIP, "application/zip", false),
            (None, TEXT, UNKNOWN, false),
            (None, b"", UNKNOWN, false),
            (Some(""), PNG, "image/png", true),
            (Some("application/octet-stream"), PNG, "image/png", true),
            (Some("Application/Octet-Stream; x=y"), JPEG, "image/jpeg", true),
            (Some("application/octet-stream"), TEXT, UNKNOWN, false),
            // Unknown types stay what they are said to be.
            (Some("application/vnd.example+json"), TEXT, "application/vnd.example+json", false),
            (Some("x/y"), PNG, "x/y", false),
        ];
        for (declared, head, mime, inline) in rows {
            let expected = Judged { mime: (*mime).to_owned(), inline: *inline };
            let told = String::from_utf8_lossy(head);
            assert_eq!(judge(*declared, head), expected, "{declared:?} with {told}");
        }
    }

    #[test]
    fn what_a_browser_would_run_or_draw_goes_out_as_plain_text() {
        for mime in ACTIVE.into_iter().chain([
            "application/xhtml+xml",
            "image/svg+xml",
            "application/rss+xml",
            "application/xslt+xml",
            "application/vnd.mozilla.xul+xml",
            "model/x+xml",
            "multipart/x-mixed-replace",
            "multipart/related",
            "message/rfc822",
            "message/http",
            "text/plain",
            // Nothing that `judge` gives, but rows can be older than rules.
            "",
            "html",
            "TEXT/HTML",
            "Image/Svg+Xml",
            "text/html;charset=utf-8",
            "text/html ",
            "image/png, text/html",
            "image/png\r\nx: y",
        ]) {
            assert_eq!(served(mime, false), PLAIN, "{mime:?}");
            assert_eq!(served(mime, true), PLAIN, "{mime:?} in place");
        }
        for mime in [
            "image/png",
            "image/tiff",
            "video/mp4",
            "application/pdf",
            "application/zip",
            "application/json",
            "application/vnd.example+json",
            "application/wasm",
            "text/csv",
            "text/markdown",
            "font/woff2",
            UNKNOWN,
        ] {
            assert_eq!(served(mime, false), mime);
        }
        assert_eq!(served("image/png", true), "image/png");
    }

    proptest! {
        #[test]
        fn nothing_that_goes_out_in_place_is_active(declared in any::<Option<String>>(), head in prop::collection::vec(any::<u8>(), 0..600)) {
            let judged = judge(declared.as_deref(), &head);
            prop_assert!(is_essence(&judged.mime), "{:?}", judged);
            let goes_out = served(&judged.mime, judged.inline);
            prop_assert!(goes_out == PLAIN || goes_out == judged.mime);
            prop_assert!(!judged.inline || (goes_out == judged.mime && family(goes_out).is_some()));
        }

        #[test]
        fn parameters_and_case_never_matter(at in 0..ACTIVE.len(), tail in "[ ]{0,2}(;.{0,20})?", up in any::<bool>()) {
            let name = if up { ACTIVE[at].to_ascii_uppercase() } else { ACTIVE[at].to_owned() };
            let judged = judge(Some(&format!("{name}{tail}")), PNG);
            prop_assert_eq!(judged.mime, ACTIVE[at]);
        }
    }
}
