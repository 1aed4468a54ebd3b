"""The rules of a correct reverse proxy, each taken apart into what can be wrong with it, and the tests that prove it.

A test is named by its module (without `test_`) and its function (without `test_`). `python -m
tests.functional.gateway_rules --write` makes docs/gateway-rules.md of it.
"""

from __future__ import annotations

from typing import NamedTuple


class Proof(NamedTuple):
    """One thing that a rule asks for, where it is asked, and the tests that fail when it is not so."""

    says: str
    source: str
    tests: tuple[str, ...]


class Rule(NamedTuple):
    """A rule by its number and name."""

    name: str
    proofs: tuple[Proof, ...]


def _proof(says: str, source: str, *tests: str) -> Proof:
    return Proof(says, source, tests)


RULES: dict[int, Rule] = {
    1: Rule(
        "Content-Length together with Transfer-Encoding",
        (
            _proof(
                "400 and close for a request, in any order, hidden or plain, in HTTP/1.0 too; nothing is sent on",
                "9112 6.1, 6.3",
                "request_framing::a_length_with_a_coding_is_refused",
                "request_framing::a_length_of_0_with_a_coding_is_refused",
                "gateway::a_request_with_broken_framing_is_refused_and_the_connection_closed",
                "gateway::a_request_with_a_broken_head_never_reaches_the_upstream",
            ),
            _proof(
                "a field that only looks like a coding frames nothing",
                "9112 6.1",
                "request_framing::a_field_that_is_only_like_a_coding_frames_nothing",
            ),
            _proof(
                "502 for an answer, and its connection is dropped",
                "9112 6.3",
                "answer_framing::an_answer_that_is_not_by_the_letter_is_a_502_and_its_connection_is_dropped",
            ),
        ),
    ),
    2: Rule(
        "Content-Length",
        (
            _proof(
                "400 for one that is invalid, doubled, a list, signed, too large, or not in ASCII digits",
                "9112 6.3, 9110 8.6",
                "request_framing::an_invalid_length_is_refused",
            ),
            _proof(
                "one that is valid frames the body, whatever the method; none is no body",
                "9112 6.3",
                "request_framing::a_valid_length_frames_the_body",
                "request_framing::no_length_is_no_body",
                "request_framing::a_body_is_sent_on_whatever_the_method",
                "request_framing::a_body_without_a_length_in_http_1_0_is_no_body_and_no_request",
            ),
            _proof(
                "502 for an answer's, and its connection is dropped",
                "9112 6.3",
                "answer_framing::an_answer_that_is_not_by_the_letter_is_a_502_and_its_connection_is_dropped",
                "gateway::a_bad_answer_is_a_502_and_costs_the_upstream_its_connection",
            ),
        ),
    ),
    3: Rule(
        "Transfer-Encoding",
        (
            _proof(
                "400 or 501 and close for anything but chunked alone, once",
                "9112 6.1, 7",
                "request_framing::a_coding_other_than_chunked_alone_is_refused",
            ),
            _proof(
                "400 and close in HTTP/1.0, with keep-alive or without",
                "9112 6.1",
                "request_framing::a_coding_in_http_1_0_is_refused",
            ),
            _proof(
                "chunked in any case of letters and with white space around it frames the body",
                "9112 7, 9110 5.5",
                "request_framing::chunked_alone_frames_the_body",
            ),
            _proof(
                "502 for an answer with another coding, with chunked twice, or in HTTP/1.0",
                "9112 6.1, 7",
                "answer_framing::an_answer_that_is_not_by_the_letter_is_a_502_and_its_connection_is_dropped",
            ),
        ),
    ),
    4: Rule(
        "Field lines and the first line",
        (
            _proof(
                "400 for folded lines, white space before the colon or the name, no colon, a name that is no token",
                "9112 5.1, 5.2",
                "request_heads::a_line_that_is_no_field_is_refused",
            ),
            _proof(
                "400, 501 or 505 for a request line that is not by the letter",
                "9112 3, 9110 6.2, 9.1",
                "request_heads::a_request_line_that_is_not_by_the_letter_is_refused",
                "request_heads::every_registered_method_of_rfc_9110_is_sent_on",
                "gateway::a_request_that_cannot_be_forwarded_is_answered_here",
            ),
            _proof(
                "empty lines before a request are skipped; a head is read wherever it is cut",
                "9112 2.2",
                "request_heads::empty_lines_before_a_request_are_skipped",
                "request_heads::a_head_in_two_pieces_is_read_wherever_it_is_cut",
                "gateway::a_request_that_comes_byte_by_byte",
            ),
            _proof(
                "502 for an answer with such lines, or with a status line that is not by the letter",
                "9112 4, 5",
                "answer_framing::an_answer_that_is_not_by_the_letter_is_a_502_and_its_connection_is_dropped",
                "answer_framing::a_status_line_is_sent_on_in_http_1_1",
                "gateway::an_answer_that_comes_byte_by_byte",
            ),
        ),
    ),
    5: Rule(
        "Host and the target's authority",
        (
            _proof(
                "400 for a Host that is missing, empty, doubled or invalid, at any place on a connection",
                "9112 3.2, 9110 7.2",
                "request_heads::a_missing_second_or_invalid_host_is_refused",
                "request_heads::a_bad_host_is_refused_in_http_1_0_too",
                "request_heads::a_bad_host_is_refused_whatever_the_target_says",
                "request_heads::a_bad_host_is_refused_after_a_good_one_on_the_same_connection",
            ),
            _proof("a valid one travels as it came", "9110 7.2", "request_heads::a_host_travels_as_it_came"),
            _proof(
                "an absolute target's authority stands in for Host; user information, none, another scheme: 400",
                "9112 3.2.2, 9110 4.2.4",
                "request_heads::an_absolute_targets_authority_stands_in_for_host",
                "request_heads::a_request_line_that_is_not_by_the_letter_is_refused",
                "gateway::the_authority_of_an_absolute_target_overrides_host",
            ),
        ),
    ),
    6: Rule(
        "Controls, bare CR and LF, chunks",
        (
            _proof(
                "400 for CR, LF, NUL and other controls in a value, a name or a target",
                "9110 5.5, 9112 2.2",
                "request_heads::a_line_that_is_no_field_is_refused",
                "request_heads::a_request_line_that_is_not_by_the_letter_is_refused",
            ),
            _proof(
                "400 for a chunk size with sign, prefix, underscore, white space, 17 digits; LF alone; wrong lengths",
                "9112 7.1",
                "request_framing::broken_chunks_are_refused",
            ),
            _proof(
                "a chunk that turns out to be broken late never looks complete to the upstream",
                "9112 8",
                "request_framing::a_chunk_that_breaks_off_late_never_looks_complete_to_the_upstream",
            ),
            _proof(
                "extensions, quoted or not, are dropped; chunks are framed anew; data are data",
                "9112 7.1.1",
                "request_framing::chunks_are_read_and_framed_anew",
                "request_framing::sizes_have_digits_in_both_cases",
                "request_framing::data_that_looks_like_framing_is_data",
                "gateway::chunks_are_framed_anew_without_extensions_and_trailers_travel_on",
            ),
            _proof(
                "400 for trailers that are no fields, or that never end",
                "9112 7.1.2, 5",
                "request_framing::a_broken_trailer_is_refused",
                "request_framing::trailers_without_end_are_refused",
            ),
            _proof(
                "an answer whose chunks or trailers are broken is aborted, or a 502 if they break beside its head",
                "9112 7.1, 8",
                "answer_framing::broken_chunks_never_look_like_a_whole_answer",
                "answer_framing::chunks_that_break_beside_the_head_are_a_502",
            ),
        ),
    ),
    7: Rule(
        "Fields of one hop",
        (
            _proof(
                "what Connection names is dropped, in any case of letters, list or number of fields",
                "9110 7.6.1",
                "fields::a_request_loses_what_connection_names",
                "fields::an_answer_loses_what_connection_names",
                "gateway::hop_by_hop_fields_and_those_that_connection_names_are_dropped",
            ),
            _proof(
                "but not what frames or routes",
                "9110 7.6.1",
                "fields::connection_cannot_take_away_what_frames_or_routes",
                "gateway::connection_cannot_take_host_or_framing_away",
            ),
            _proof(
                "Keep-Alive, Proxy-Connection, TE and the proxy's credentials are dropped without being named",
                "9110 7.6.1, 11.7",
                "fields::a_field_of_one_hop_is_dropped_even_where_connection_does_not_name_it",
                "fields::a_field_of_both_ends_travels",
            ),
            _proof(
                "in interim answers too",
                "9110 7.6.1, 15.2",
                "interim_answers::an_interim_answer_loses_what_connection_names_and_no_more",
                "gateway::interim_answers_are_relayed_without_hop_by_hop_fields",
            ),
            _proof(
                "in trailers too; trailers that frame, route or vouch are dropped",
                "9110 6.5.1, 7.6.1",
                "request_framing::a_trailer_that_connection_names_is_dropped",
                "request_framing::a_trailer_that_frames_routes_or_vouches_is_dropped",
                "answer_framing::a_trailer_that_connection_names_is_dropped_from_an_answer",
                "answer_framing::trailers_that_frame_route_or_vouch_are_dropped_from_an_answer",
            ),
            _proof(
                "close and keep-alive mean this hop",
                "9112 9.3, 9.6",
                "fields::connection_that_names_close_in_a_list_closes",
                "answer_framing::an_upstream_that_does_not_keep_its_connection_gets_no_second_request",
                "gateway::a_connection_that_the_upstream_wants_closed_is_not_reused",
            ),
        ),
    ),
    8: Rule(
        "Via and X-Forwarded-*",
        (
            _proof(
                "X-Forwarded-For ends with the client; -Proto and -Host are ours; stripped first, then added",
                "9110 7.6.1",
                "fields::x_forwarded_for_is_one_field_that_ends_with_the_client",
                "fields::x_forwarded_proto_and_host_are_not_the_clients_to_say",
                "fields::connection_that_names_x_forwarded_for_takes_the_clients_away_and_not_ours",
                "gateway::forwarded_fields_are_appended_to_what_came_and_never_doubled",
                "gateway_limits::forwarding_fields_can_be_switched_off",
            ),
            _proof(
                "Via names the version that was received, and is never lost",
                "9110 7.6.3",
                "fields::via_names_the_version_that_was_received",
            ),
            _proof(
                "a request that passed here too often is stopped, however Via is written",
                "9110 7.6.3",
                "fields::a_request_that_passed_here_too_often_is_a_loop",
                "fields::connection_that_names_via_does_not_hide_a_loop",
                "fields::via_of_others_is_no_loop",
                "gateway::a_request_that_goes_round_in_circles_is_stopped",
            ),
        ),
    ),
    9: Rule(
        "Interim answers and Expect",
        (
            _proof(
                "1xx are relayed in order and at once, before any kind of final answer",
                "9110 15.2",
                "interim_answers::interim_answers_are_relayed_in_order_before_the_final_one",
                "interim_answers::each_interim_answer_is_relayed_when_it_comes",
                "interim_answers::an_interim_answer_that_comes_byte_by_byte",
            ),
            _proof(
                "none to HTTP/1.0",
                "9110 15.2",
                "interim_answers::http_1_0_gets_no_interim_answer",
                "gateway::an_http_1_0_client_gets_no_interim_answer",
            ),
            _proof(
                "1xx without a final answer, or without end, become a 502",
                "9110 15.2",
                "interim_answers::interim_answers_without_a_final_one_end_in_a_502",
                "gateway::interim_answers_without_end_are_a_bad_answer",
            ),
            _proof(
                "Expect travels, and the upstream says 100; in HTTP/1.0 it is ignored",
                "9110 10.1.1",
                "interim_answers::expect_travels_and_the_upstream_alone_says_100",
                "interim_answers::a_client_that_does_not_wait_for_100_may_send_at_once",
                "interim_answers::expect_in_chunks",
                "interim_answers::expect_of_http_1_0_is_ignored",
                "interim_answers::an_unknown_expectation_is_the_upstreams_to_refuse",
                "gateway::expect_is_forwarded_and_the_client_told_to_continue_by_the_upstream",
            ),
            _proof(
                "a final answer before the body ends both connections, and what follows is no request",
                "9110 10.1.1, 9112 9.3",
                "interim_answers::what_follows_an_early_answer_is_never_taken_for_a_request",
                "gateway::a_final_answer_before_the_body_stops_the_upload_and_ends_both_connections",
            ),
        ),
    ),
    10: Rule(
        "Answers without a body",
        (
            _proof(
                "HEAD, 204 and 304 end with their heads, whatever length or coding says; both connections go on",
                "9112 6.3",
                "answer_framing::what_has_no_body_ends_with_its_head_and_both_connections_go_on",
                "gateway::an_answer_without_a_body_ends_with_its_head",
            ),
            _proof(
                "a body that comes all the same is nobody's, and drops the connection",
                "9112 9.3.2",
                "answer_framing::a_body_where_none_may_be_is_not_passed_on_and_drops_the_connection",
            ),
            _proof(
                "a length stays beside HEAD and 304, and goes from 204 and 1xx",
                "9110 8.6",
                "answer_framing::a_length_stays_beside_a_head_and_only_there",
                "interim_answers::interim_answers_are_relayed_in_order_before_the_final_one",
            ),
            _proof("205 is framed by its fields", "9110 15.3.6", "answer_framing::a_205_is_framed_by_its_fields"),
        ),
    ),
    11: Rule(
        "Truncated answers",
        (
            _proof(
                "a body that is cut short by a close or a reset aborts the client's connection",
                "9112 8",
                "answer_framing::broken_chunks_never_look_like_a_whole_answer",
                "answer_framing::a_reset_inside_an_answer_reaches_the_client_as_a_reset",
                "gateway::a_truncated_answer_never_looks_complete",
                "gateway::a_close_delimited_answer_that_ends_in_a_reset_is_truncated",
                "gateway_limits::an_answer_that_stalls_half_way_is_aborted",
            ),
            _proof(
                "a head that is cut short is a 502",
                "9110 15.6.3",
                "answer_framing::an_answer_that_ends_inside_its_head_is_a_502",
            ),
            _proof(
                "a body up to the close is whole only by a close",
                "9112 6.3",
                "answer_framing::a_body_up_to_the_close_is_whole_only_by_a_close",
                "gateway::a_close_delimited_answer_is_chunked_for_http_1_1_and_the_connection_lives_on",
                "gateway::an_http_1_0_client_gets_a_body_of_unknown_length_up_to_the_close",
            ),
        ),
    ),
    12: Rule(
        "Retries",
        (
            _proof(
                "once, for an idempotent request that met a closed idle connection",
                "9110 9.2.2, 9112 9.3.1",
                "order_and_reuse::an_idempotent_request_that_meets_a_closed_connection_is_sent_once_more",
                "gateway::a_get_that_meets_the_close_of_an_idle_connection_is_sent_again_once",
                "gateway::a_get_is_not_sent_a_third_time",
                "gateway::a_get_on_a_new_connection_is_not_sent_again",
            ),
            _proof(
                "never for POST and PATCH, nor once a byte of an answer came, nor while a body is under way",
                "9110 9.2.2",
                "order_and_reuse::a_request_that_may_have_done_something_is_never_sent_again",
                "order_and_reuse::nothing_is_sent_again_once_a_byte_of_an_answer_came",
                "order_and_reuse::a_request_whose_body_is_under_way_is_not_sent_again",
                "interim_answers::a_get_is_not_sent_again_once_an_interim_answer_came",
                "gateway::a_post_that_meets_the_close_of_an_idle_connection_is_not_sent_again",
            ),
            _proof(
                "a close that was seen in time costs no request",
                "9112 9.5",
                "order_and_reuse::a_close_that_was_seen_before_costs_no_request",
            ),
        ),
    ),
    13: Rule(
        "Pipelines and reuse",
        (
            _proof(
                "answers come in order, however requests are cut, mixed and framed",
                "9112 9.3.2",
                "order_and_reuse::a_pipelined_mix_is_answered_in_order_however_it_is_cut",
                "order_and_reuse::many_clients_pipeline_and_each_gets_its_own_answers",
                "order_and_reuse::the_second_request_waits_for_the_end_of_the_first_answer",
                "gateway::pipelined_requests_are_answered_in_order",
                "gateway::thousands_of_pipelined_requests_that_are_answered_here",
            ),
            _proof(
                "an error in the middle is answered in its turn; nothing after a last request is read",
                "9112 9.3.2, 9.6",
                "order_and_reuse::an_error_in_the_middle_is_answered_in_its_turn",
                "order_and_reuse::nothing_after_a_last_request_is_read",
            ),
            _proof(
                "bytes after an answer, or on an idle connection, are nobody's and drop the connection",
                "9112 9.3.2, 11.2",
                "answer_framing::bytes_after_an_answer_are_nobodys_and_drop_the_connection",
                "answer_framing::bytes_on_an_idle_connection_drop_it_and_answer_nobody",
                "gateway::bytes_after_an_answer_are_not_passed_on_and_drop_the_upstreams_connection",
                "gateway::bytes_on_an_idle_upstream_connection_drop_it",
            ),
            _proof(
                "HTTP/1.0 on either side may keep its connection, if it says so",
                "9112 9.3",
                "answer_framing::http_1_0_upstreams_may_keep_their_connection",
                "gateway::an_http_1_0_client_may_keep_its_connection",
                "gateway::upstream_connections_are_reused_across_clients",
            ),
        ),
    ),
    15: Rule(
        "What travels as it came",
        (
            _proof(
                "order, case and duplicates of fields, in both directions",
                "9110 5.2, 5.3",
                "fields::order_case_and_duplicates_of_fields_are_kept_in_both_directions",
                "request_heads::a_field_travels_as_it_came",
                "gateway::the_head_travels_as_it_came",
                "gateway::the_answers_head_travels_as_it_came",
            ),
            _proof("Set-Cookie is never joined", "9110 5.3", "fields::set_cookie_is_never_joined_or_moved"),
            _proof(
                "raw path and query: %2f, ;, //, single dots, signs, broken escapes",
                "9110 7.6, 9112 3.2.1",
                "request_heads::path_and_query_travel_as_they_came",
            ),
            _proof(
                "a path with a `..` segment, however it is written, has no route",
                "3986 5.2.4",
                "request_heads::a_path_that_climbs_has_no_route",
            ),
        ),
    ),
    16: Rule(
        "Who goes away, who is early, who is late",
        (
            _proof(
                "a client that goes away cancels what it asked for, at any point",
                "9110 15.6",
                "order_and_reuse::a_client_that_goes_away_at_any_point_leaves_no_request_behind",
                "gateway_sturdy::clients_that_vanish_at_any_point_cancel_what_they_asked_for",
                "gateway::a_client_that_goes_away_cancels_its_request",
                "gateway::a_client_that_goes_away_inside_its_body_cancels_its_request",
                "gateway::a_client_that_goes_away_inside_the_answer_cancels_it",
            ),
            _proof(
                "what it has of an answer does not look whole to one that only closed its half",
                "9112 8",
                "order_and_reuse::an_answer_that_a_half_closed_client_does_not_get_whole_ends_in_a_reset",
            ),
            _proof(
                "an early answer stops the upload",
                "9112 9.3",
                "gateway_sturdy::early_answers_end_uploads_that_go_on",
            ),
            _proof(
                "502, 503 and 504 are kept apart",
                "9110 15.6.3-5",
                "gateway_limits::a_dead_upstream_is_a_502_at_once_for_every_method",
                "gateway_limits::one_upstream_connection_too_many_is_a_503",
                "gateway_limits::a_stalled_upstream_is_a_504_and_its_connection_is_dropped",
                "gateway_limits::an_upstream_that_does_not_accept_is_a_504",
                "gateway_sturdy::ill_upstreams_cost_their_own_requests_and_no_others",
            ),
            _proof(
                "each piece is passed on when it comes, in bounded memory",
                "9110 7.6",
                "gateway::each_piece_of_an_answer_is_passed_on_when_it_comes",
                "gateway::each_piece_of_a_request_is_passed_on_when_it_comes",
                "gateway::a_large_answer_streams_in_bounded_memory_to_a_slow_reader",
                "gateway::a_large_request_streams_in_bounded_memory_to_a_slow_upstream",
            ),
        ),
    ),
}

LIMITS: tuple[Proof, ...] = (
    _proof(
        "a head of too many bytes or fields is a 431; a body over its limit a 413",
        "9110 15.5.14, 6585 5",
        "gateway_limits::a_head_that_is_too_large_is_a_431",
        "gateway_limits::too_many_fields_are_a_431",
        "gateway_limits::a_body_over_the_limit_is_a_413",
        "gateway_limits::a_body_at_the_limit_passes",
        "gateway_limits::a_large_refused_body_does_not_hide_the_answer",
    ),
    _proof(
        "a slow head or body is a 408; an idle connection is closed",
        "9110 15.5.9",
        "gateway_limits::a_slow_head_is_a_408_even_when_it_drips",
        "gateway_limits::a_slow_body_is_a_408_and_cancels_the_upstreams_request",
        "gateway_limits::an_idle_connection_is_closed_without_a_word",
        "gateway_sturdy::slow_heads_are_all_told_408_and_not_sent_on",
        "gateway_sturdy::slow_bodies_are_all_told_408_and_their_requests_cancelled",
        "gateway_sturdy::a_body_that_drips_faster_than_its_deadline_arrives",
        "gateway_sturdy::an_empty_line_while_idle_does_not_start_the_clock_of_the_next_head",
        "gateway_sturdy::idle_clients_cost_nothing_and_are_closed_in_silence",
    ),
    _proof(
        "a client that does not read holds nobody up and piles nothing up",
        "-",
        "gateway_limits::a_client_that_does_not_read_is_aborted",
        "gateway_sturdy::slow_readers_are_dropped_and_their_answers_never_piled_up",
        "gateway_sturdy::clients_that_pipeline_without_reading_are_made_to_wait",
    ),
    _proof(
        "what never ends is stopped; what is cut very small holds nobody up",
        "-",
        "gateway_sturdy::what_never_ends_is_stopped",
        "gateway_sturdy::a_body_of_tiny_chunks_holds_nobody_up",
        "gateway_sturdy::a_large_head_that_comes_byte_by_byte_holds_nobody_up",
    ),
    _proof(
        "connections are capped on both sides",
        "-",
        "gateway_limits::one_client_too_many_is_a_503",
        "gateway_limits::one_upstream_connection_too_many_is_a_503",
        "gateway_limits::idle_upstream_connections_are_capped_and_expire",
    ),
)
