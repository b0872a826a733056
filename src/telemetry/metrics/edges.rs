//! Edges of the histograms.

/// Edges of the OpenTelemetry `gen_ai.server.time_to_first_token`, extended for reasoning models.
pub(super) const FIRST_TOKEN_S: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0,
];
/// Edges of the OpenTelemetry `gen_ai.server.time_per_output_token`.
pub(super) const PER_TOKEN_S: &[f64] =
    &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];
/// Edges of the OpenTelemetry `gen_ai.server.request.duration`, extended.
pub(super) const DURATION_S: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68];
/// Edges of the OpenTelemetry `gen_ai.client.token.usage`, shortened.
pub(super) const TOKENS: &[f64] =
    &[1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0];
/// Reported minus computed. The edges lie between whole numbers, so both sides look alike: exactly 0
/// is `le="0.5"` less `le="-0.5"`, one token more than computed `le="1.5"` less `le="0.5"`.
pub(super) const RESIDUAL_TOKENS: &[f64] = &[-100.5, -10.5, -3.5, -1.5, -0.5, 0.5, 1.5, 3.5, 10.5, 100.5];
/// A commit is one sync of the disk; above a second something is wrong with it.
pub(super) const COMMIT_S: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// From one request near by to a broker that was away for minutes.
pub(super) const DELIVERY_S: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Times that accounting holds a frame back: from one that is only looked at to the limit of a turn.
pub(super) const HELD_S: &[f64] = &[
    0.000_000_5,
    0.000_001,
    0.000_002,
    0.000_005,
    0.000_01,
    0.000_02,
    0.000_05,
    0.000_1,
    0.000_2,
    0.000_5,
    0.001,
    0.002,
    0.005,
    0.01,
];
