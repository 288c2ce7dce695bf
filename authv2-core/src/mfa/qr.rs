//! A QR code as SVG.

use qrcode::{EcLevel, QrCode, render::svg::Color};

/// The smallest width and height, in the units of the drawing: large enough to be scanned from a screen as it is.
const SIZE: u32 = 240;

/// `text` as a QR code, drawn as an SVG element that a page can take in as it is; none where it is too long for one.
pub(crate) fn svg(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let drawn = code.render::<Color<'_>>().min_dimensions(SIZE, SIZE).build();
    // Inside of a page an XML declaration is an error.
    drawn.split_once("?>").map(|(_, element)| element.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_an_element_and_repeats_nothing_of_its_text() {
        let drawn = svg("otpauth://totp/x:<script>?secret=GEZDGNBV").unwrap();
        assert!(drawn.starts_with("<svg ") && drawn.ends_with("</svg>"), "{drawn}");
        assert!(!drawn.contains("script") && !drawn.contains("GEZD"), "{drawn}");
    }

    #[test]
    fn draws_nothing_that_is_too_long() {
        assert_eq!(svg(&"x".repeat(5_000)), None);
    }
}
