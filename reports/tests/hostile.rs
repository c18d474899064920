//! Whatever a report holds, it is drawn or named as missing: hostile text stays text, odd numbers break nothing.

use coppice_reports::data::{
    Arm, Calibrated, Check, Comparison, Coverage, Curve, Curve2d, CurvePoint, Detector, DetectorGroup, DetectorScore, DomainShare,
    ExpertLoad, ExpertReport, ExpertTrend, Flagged, Guarantee, Interval, Knowledge, LayerExperts, Measure, MethodResult, MethodSeed, Point,
    ReliabilityBin, Role, ScoreResult, SeedResult, Stage, Token, TokenShare, TrendPoint, Vocabulary,
};
use coppice_reports::plots::{self, Cost, KnowledgeAxis, Trend};
use coppice_reports::{Error, Report, arms_table, methods_table, quality_curve_svg, render_experts_html, render_html};

/// Text that would break out of any element, attribute, comment or script it were put into as it is.
const HOSTILE: &str = "\"'><script>alert(1)</script></style></svg><img src=x onerror=alert(1)> --> {{7*7}} \u{202e}\0\u{7}&lt;";

/// Numbers no run should produce, and some do.
const ODD: [f64; 9] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0, 1.0, f64::MAX, f64::MIN_POSITIVE, 1e20];

fn text() -> String {
    HOSTILE.to_owned()
}

/// A report in which every text is hostile and every number is `value`.
fn report(value: f64) -> Report {
    let some = Some(value);
    let interval = Some(Interval { low: value, high: value });
    let curve = || vec![Curve2d { arm: text(), score: text(), points: vec![Point { x: value, y: value }; 3] }];
    let token = Token { text: text(), surprise: some, entropy: some };
    Report {
        title: text(),
        question: text(),
        summary: vec![text()],
        conventions: text(),
        recipe_toml: text(),
        environment: [(text(), text())].into(),
        reproduce: vec![text()],
        stages: vec![Stage { name: text(), seconds: some, cached: true }],
        checks: vec![Check { name: text(), expected: text(), found: text(), passed: false }],
        arms: vec![arm(value, Role::Control), arm(value, Role::Upcycled)],
        comparisons: vec![Comparison {
            arm: text(),
            control: text(),
            difference: some,
            interval,
            confidence: some,
            ..Comparison::default()
        }],
        curves: vec![Curve { arm: text(), seed: 1, phase: text(), points: vec![point(value); 3] }],
        expert_load: vec![ExpertLoad { arm: text(), seed: 1, layers: vec![vec![value; 3], vec![], vec![value]], layer_indices: vec![7] }],
        experts: vec![experts(value), experts(value)],
        methods: vec![method(value, Role::Control), method(value, Role::FromScratch)],
        knowledge: vec![Knowledge {
            arm: text(),
            group: text(),
            exposures: Some(u64::MAX),
            questions: u64::MAX,
            correct: some,
            interval,
            entropy: some,
        }],
        scores: vec![ScoreResult {
            arm: text(),
            score: text(),
            auroc: some,
            auroc_interval: interval,
            cost: text(),
            ..ScoreResult::default()
        }],
        roc: curve(),
        risk_coverage: curve(),
        detector: Some(detector(value)),
        flagged: vec![Flagged {
            arm: text(),
            prompt: text(),
            response: text(),
            reference: vec![text()],
            label: Some(9),
            group: text(),
            score_name: text(),
            score: some,
            tokens: vec![token],
        }],
        verdicts: vec![text()],
        notes: vec![text()],
        limits: vec![text()],
    }
}

/// A detector whose rows have more cells than there are groups.
fn detector(value: f64) -> Detector {
    let (some, interval) = (Some(value), Some(Interval { low: value, high: value }));
    let guarantee =
        Guarantee { alpha: value, confidence: value, n: usize::MAX, accepted: some, wrong_among_accepted: some, ..Guarantee::default() };
    let coverage = Coverage {
        partings: usize::MAX,
        right_kept_error: value,
        accepted_and_wrong_error: value,
        right_kept: value,
        accepted: value,
        ..Coverage::default()
    };
    Detector {
        arm: text(),
        groups: vec![DetectorGroup { name: text(), meaning: text(), answers: usize::MAX }],
        scores: vec![DetectorScore {
            score: text(),
            cost: text(),
            answers: 0,
            auroc: some,
            auroc_interval: interval,
            prr: some,
            groups: vec![some, None],
        }],
        skipped: vec![(text(), text())],
        calibrated: Some(Calibrated {
            score: text(),
            method: text(),
            auroc: some,
            auroc_interval: interval,
            ece: some,
            bins: vec![ReliabilityBin { predicted: some, wrong: some, answers: usize::MAX }; 2],
            guarantee: Some(guarantee),
            coverage: Some(coverage),
            ..Calibrated::default()
        }),
        findings: vec![text()],
    }
}

fn arm(value: f64, role: Role) -> Arm {
    let some = Some(value);
    let seed = SeedResult { seed: 3, validation_loss: some, facts_known: some, made_up: some, best_auroc: some, best_score: Some(text()) };
    Arm {
        name: text(),
        label: text(),
        role,
        parameters: Some(u64::MAX),
        active_parameters: Some(0),
        flops_per_token: some,
        bytes_per_token: some,
        latency_ms: some,
        latency_batch8_ms: some,
        wh_per_1000_tokens: some,
        seeds: vec![seed],
        intervals: [(Measure::FactsKnown, Interval { low: value, high: value })].into(),
    }
}

/// Experts whose lists are of all the wrong lengths.
fn experts(value: f64) -> ExpertReport {
    let some = Some(value);
    let token = TokenShare { token: text(), share: value, count: u64::MAX };
    let layer = LayerExperts {
        layer: usize::MAX,
        load: vec![value; 3],
        load_entropy: value,
        dead: vec![usize::MAX],
        router_entropy: some,
        saturation: some,
        co_activation: vec![vec![value; 3], vec![], vec![value; 9]],
        similarity: vec![vec![value; 3]; 2],
        parent_similarity: vec![value],
        domains: vec![DomainShare { domain: text(), tokens: u64::MAX, share: vec![value; 5] }, DomainShare::default()],
        vocabulary: Some(Vocabulary { input: value, output: value, top: vec![vec![token], vec![]] }),
    };
    let point = TrendPoint { step: u64::MAX, similarity: some, load_entropy: some, balance: some, dead: Some(u64::MAX) };
    ExpertReport {
        arm: text(),
        label: text(),
        seed: u64::MAX,
        experts: 3,
        experts_per_token: 2,
        tokens: u64::MAX,
        text: text(),
        layers: vec![layer, LayerExperts::default()],
        over_training: vec![ExpertTrend { layer: 1, points: vec![point; 2] }, ExpertTrend::default()],
        notes: vec![text()],
    }
}

/// A method of the name its role gives it.
fn method(value: f64, role: Role) -> MethodResult {
    let some = Some(value);
    let seed = MethodSeed {
        seed: 1,
        step0_jump: some,
        step0_exact: Some(false),
        final_loss: some,
        facts_known: some,
        load_entropy: some,
        dead_experts: Some(u64::MAX),
        tokens: Some(0),
    };
    MethodResult {
        arm: format!("{role:?} {HOSTILE}"),
        label: text(),
        dataset: text(),
        role,
        summary: text(),
        parameters: Some(u64::MAX),
        active_parameters: Some(0),
        flops_per_token: some,
        seeds: vec![seed; 2],
    }
}

fn point(value: f64) -> CurvePoint {
    CurvePoint { step: 1, tokens: u64::MAX, train_loss: Some(value), validation_loss: Some(value) }
}

/// Every single picture of a report.
fn pictures(report: &Report) -> Vec<Result<String, Error>> {
    let costs = [Cost::Flops, Cost::Bytes, Cost::Latency];
    let quality = costs.iter().flat_map(|cost| Measure::ALL.map(|measure| plots::quality_svg(report, measure, *cost)));
    let known = [KnowledgeAxis::Correct, KnowledgeAxis::Entropy].map(|axis| plots::knowledge_svg(report, axis));
    let loads = report.expert_load.iter().map(|load| plots::expert_load_svg(report, load));
    let scores = [plots::roc_svg(report, HOSTILE), plots::risk_coverage_svg(report, HOSTILE)];
    let others = [quality_curve_svg(report), plots::training_svg(report, HOSTILE), plots::methods_svg(report)];
    let experts = report.experts.iter().take(1).flat_map(expert_pictures);
    quality.chain(known).chain(loads).chain(scores).chain(others).chain(experts).collect()
}

/// Every single picture of a model's experts, of its first layer where it is one layer's.
fn expert_pictures(report: &ExpertReport) -> Vec<Result<String, Error>> {
    let of_layer =
        |layer| [plots::co_activation_svg(report, layer), plots::similarity_svg(report, layer), plots::domains_svg(report, layer)];
    let trends = Trend::ALL.map(|trend| plots::trend_svg(report, trend));
    report.layers.iter().take(1).flat_map(of_layer).chain(trends).chain([plots::load_svg(report)]).collect()
}

#[test]
fn odd_numbers_never_break_a_page_or_a_picture() {
    for value in ODD {
        let report = report(value);
        for page in [render_html(&report).unwrap(), render_experts_html(&report.experts[0]).unwrap(), methods_table(&report)] {
            assert!(!page.contains("NaN") && !page.contains(">inf"), "{value} reached the page");
        }
        for picture in pictures(&report) {
            match picture {
                Ok(svg) => assert!(svg.trim_end().ends_with("</svg>") && !svg.contains("NaN"), "{value}"),
                Err(error) => assert!(matches!(error, Error::NothingToDraw { .. }), "{value}: {error}"),
            }
        }
    }
}

#[test]
fn hostile_text_stays_text() {
    let report = report(0.5);
    for page in [render_html(&report).unwrap(), render_experts_html(&report.experts[0]).unwrap()] {
        assert_eq!(page.matches("<script>").count(), 1, "only the page's own script");
        assert!(!page.contains("<img") && !page.contains("onerror=alert(1)>"));
        assert_eq!(page.matches("</style>").count(), 1 + page.matches("<svg").count());
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    }
    let drawn: Vec<String> = pictures(&report).into_iter().map(Result::unwrap).collect();
    assert!(drawn.iter().all(|svg| !svg.contains("<script") && !svg.contains("<img") && !svg.contains('\0')));
    assert!(drawn.iter().all(|svg| svg.matches("</svg>").count() == 1));
    assert_eq!(arms_table(&report).lines().count(), 4);
    assert_eq!(methods_table(&report).lines().count(), 4);
    assert!(!methods_table(&report).replace("\\<", "").contains('<'));
}

#[test]
fn an_empty_report_says_what_is_missing() {
    let page = render_html(&Report::default()).unwrap();
    assert!(!page.contains("<svg") && !page.contains("<table"));
    assert!(page.matches("class=\"missing\"").count() >= 10);
    assert!(pictures(&Report::default()).iter().all(|picture| matches!(picture, Err(Error::NothingToDraw { .. }))));
}

#[test]
fn a_page_asks_nothing_of_the_network() {
    let report = report(0.5);
    let page = render_html(&report).unwrap() + &render_experts_html(&report.experts[0]).unwrap();
    let names = page.replace("http://www.w3.org/2000/svg", "");
    for call in ["http://", "https://", "<link", "<iframe", "@import", "url(", "fetch(", " src=\"", "XMLHttpRequest"] {
        assert!(!names.contains(call), "{call}");
    }
}
