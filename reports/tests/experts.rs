//! What experts became and methods side by side: read back as written, shown where measured, never zero where missing.

use coppice_reports::data::{DomainShare, ExpertReport, LayerExperts, MethodResult, MethodSeed, Role, TokenShare, Vocabulary};
use coppice_reports::plots::{self, HeatMap, Numbers, Scale};
use coppice_reports::{Error, Report, methods_table, render_experts_html, render_html};

/// A model of four experts whose last layer is even and whose first has one expert.
fn model() -> ExpertReport {
    let even = LayerExperts { layer: 4, load: vec![0.25; 4], load_entropy: 4_f64.ln(), ..LayerExperts::default() };
    let one = LayerExperts { layer: 2, load: vec![1.0, 0.0, 0.0, 0.0], load_entropy: 0.0, dead: vec![1, 2, 3], ..LayerExperts::default() };
    ExpertReport { arm: "top1".into(), experts: 4, experts_per_token: 1, layers: vec![one, even], ..ExpertReport::default() }
}

#[test]
fn experts_and_methods_survive_json() {
    let vocabulary = Vocabulary { input: 0.5, output: 0.25, top: vec![vec![TokenShare { token: " a".into(), share: 0.75, count: 3 }]] };
    let domains = vec![DomainShare { domain: "code".into(), tokens: 9, share: vec![0.5, 0.5] }];
    let layer = LayerExperts { domains, vocabulary: Some(vocabulary), similarity: vec![vec![1.0, 0.5]], ..model().layers.remove(0) };
    let seed = MethodSeed { step0_exact: Some(true), dead_experts: Some(0), ..MethodSeed::default() };
    let method = MethodResult { role: Role::FromScratch, seeds: vec![seed], ..MethodResult::default() };
    let experts = vec![ExpertReport { layers: vec![layer], ..model() }];
    let report = Report { experts, methods: vec![method], ..Report::default() };
    let json = serde_json::to_string(&report).unwrap();
    assert!(json.contains("\"role\":\"from_scratch\""));
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
}

#[test]
fn nulls_and_absent_keys_read_back_as_missing_and_never_as_zero() {
    let json = r#"{"load": [null, 0.5], "similarity": [[1, null]], "parent_similarity": [null], "domains": [{"share": [null]}],
                   "vocabulary": {"input": null, "top": [[{"token": "a"}]]}}"#;
    let layer: LayerExperts = serde_json::from_str(json).unwrap();
    let vocabulary = layer.vocabulary.as_ref().unwrap();
    let missing = [layer.load_entropy, layer.load[0], layer.similarity[0][1], layer.parent_similarity[0], layer.domains[0].share[0]];
    assert!(missing.iter().all(|v| v.is_nan()));
    assert!([vocabulary.input, vocabulary.output, vocabulary.top[0][0].share].iter().all(|v| v.is_nan()));
    assert_eq!((layer.load[1], layer.evenness(), layer.mean_similarity()), (0.5, None, None));
    assert!(!layer.is_collapsed() && !LayerExperts::default().is_collapsed());
    let again: LayerExperts = serde_json::from_str(&serde_json::to_string(&layer).unwrap()).unwrap();
    assert!(again.load_entropy.is_nan() && again.load[0].is_nan());
}

#[test]
fn means_and_shares_follow_their_closed_forms() {
    let similarity = vec![vec![1.0, 0.5, f64::NAN], vec![0.25, 1.0, 0.75], vec![f64::NAN, 0.5, 1.0]];
    let layer = LayerExperts { similarity, load: vec![0.5, 0.5, 0.0, 0.0], load_entropy: 2_f64.ln(), ..LayerExperts::default() };
    assert_eq!(layer.mean_similarity(), Some(0.5));
    assert!((layer.evenness().unwrap() - 0.5).abs() < 1e-12);
}

/// A map of one row.
fn row(values: &[f64], zero: Option<&'static str>) -> HeatMap {
    HeatMap {
        title: "t".into(),
        description: String::new(),
        rows: vec!["r".into()],
        columns: (0..values.len()).map(|column| column.to_string()).collect(),
        heading: String::new(),
        values: vec![values.to_vec()],
        scale: Scale::Diverging { even: 0.25, top: 0.5 },
        numbers: Numbers::Percent,
        zero,
        width: 1120,
    }
}

/// The figure's cells and text without the bar of its scale.
fn cells(svg: &str) -> String {
    let kept = svg.split("<path").filter(|path| !path.contains("crispEdges"));
    kept.collect::<Vec<_>>().join("<path")
}

#[test]
fn starved_even_overloaded_and_missing_cells_look_different() {
    let svg = row(&[0.0, 0.25, 0.5, f64::NAN], Some("no token")).svg().unwrap();
    let cells = cells(&svg);
    assert_eq!(cells.matches("fill=\"#0072B2\" fill-opacity=\"1.000\"").count(), 1, "starved is full blue");
    assert_eq!(cells.matches("fill=\"#D55E00\" fill-opacity=\"1.000\"").count(), 1, "overloaded is full orange");
    assert_eq!(cells.matches("fill-opacity").count(), 2, "the even cell has no colour");
    let texts: Vec<&str> = svg.split("\n").map(str::trim).collect();
    let said = |text: &str| texts.contains(&text);
    assert!(said("25.0") && said("50.0") && !said("0.0"), "{texts:?}");
    assert!(said("crossed out: no token") && said("hatched: not measured"));
    assert!(svg.contains("even 25"));
}

#[test]
fn numbers_below_zero_have_no_colour_and_a_remark() {
    let map = HeatMap { scale: Scale::Sequential { top: 1.0, even: None }, numbers: Numbers::Plain, ..row(&[-0.5, 1.0], None) };
    let svg = map.svg().unwrap();
    assert_eq!(cells(&svg).matches("fill-opacity").count(), 1);
    assert!(svg.contains("\n−0.50\n") && svg.contains("without colour: zero or below"));
}

#[test]
fn maps_without_a_number_or_a_scale_are_not_drawn() {
    assert!(matches!(row(&[f64::NAN], None).svg(), Err(Error::NothingToDraw { .. })));
    assert!(matches!(row(&[], None).svg(), Err(Error::NothingToDraw { .. })));
    let flat = HeatMap { scale: Scale::Diverging { even: 0.0, top: 0.0 }, ..row(&[0.5], None) };
    assert!(matches!(flat.svg(), Err(Error::NothingToDraw { .. })));
}

#[test]
fn numbers_are_written_only_where_all_fit() {
    let many = row(&[0.25; 64], None).svg().unwrap();
    assert!(!many.contains("\n25.0\n"));
    assert_eq!(row(&[0.25; 8], None).svg().unwrap().matches("\n25.0\n").count(), 8);
}

#[test]
fn dead_and_collapsed_experts_are_named_and_missing_parts_said() {
    let page = render_experts_html(&model()).unwrap();
    assert!(page.contains("Layer 2 has collapsed") && page.contains("3 experts are dead"));
    assert!(!page.contains("No expert is dead"));
    assert!(page.contains("lacks the cosine between the weights of two experts"));
    let sound = ExpertReport { layers: model().layers.split_off(1), ..model() };
    assert!(render_experts_html(&sound).unwrap().contains("No expert is dead"));
    let empty = render_experts_html(&ExpertReport::default()).unwrap();
    assert!(!empty.contains("No expert is dead") && !empty.contains("<svg") && empty.contains("class=\"missing\""));
}

#[test]
fn other_seeds_are_folded_and_sections_without_data_are_left_out() {
    let experts = vec![model(), ExpertReport { seed: 1, ..model() }];
    let page = render_html(&Report { experts, ..Report::default() }).unwrap();
    assert!(page.contains("<h3>top1, seed 0</h3>") && page.contains("<summary>top1, seed 1</summary>"));
    assert!(page.contains("id=\"experts\"") && !page.contains("id=\"methods\""));
    assert!(!render_html(&Report::default()).unwrap().contains("id=\"experts\""));
}

#[test]
fn a_method_without_results_leaves_dashes() {
    let method = MethodResult { arm: "copy".into(), dataset: "text".into(), seeds: vec![MethodSeed::default()], ..MethodResult::default() };
    let report = Report { methods: vec![method], ..Report::default() };
    assert_eq!(methods_table(&report).lines().nth(2), Some("| copy | – | – | – | – | – | – | – | – | – |"));
    assert!(matches!(plots::methods_svg(&report), Err(Error::NothingToDraw { .. })));
    let page = render_html(&report).unwrap();
    assert!(page.contains("id=\"side-by-side\"") && page.contains("lacks a dense control"));
    assert_eq!(methods_table(&Report::default()).lines().count(), 2);
}
