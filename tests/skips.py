"""The tests that may be skipped, by name, and the only reasons for it.

What is shipped is tested: the environment holds every library that the tests drive, so a test
that is skipped for want of one fails (`tests/conftest.py` holds every skip to this table). Left
are the things that no Python package brings to a machine.
"""

NO_XVFB = "no Xvfb on this machine"
NO_CHROMIUM = "no Chromium on this machine"
NO_GPU = "no GPU here"
NO_LSL = "LSL streams on this machine do not find one another"
NO_LPIPS = "LPIPS needs torchvision, which the environment of the tests does not hold"
NO_TORCHVISION = "torchvision does not load beside the torch of constraints.txt"
NO_COUNTS = "only Linux counts the bytes of a connection"
NO_HOLES = "the system cannot tell"
NO_NODE = "no Node.js on this machine"
NO_FREEZING = "no way to freeze a process"

# Reason: functions of tests. `make test` brings Xvfb and Chromium where it may.
ALLOWED = {
    NO_XVFB: {
        "test_the_image_is_where_it_was_asked_for",
        "test_times_are_whole_frames",
        "test_an_animal_that_looks_away_ends_the_image_at_once",
        "test_escape_breaks_off",
        "test_a_frame_that_came_late_is_counted",
        "test_check_on_an_x_server",
        "test_show_puts_a_picture_where_it_was_asked_for",
    },
    NO_CHROMIUM: {
        "test_a_finished_session_is_shown_and_played_back_until_it_is_gone",
        "test_a_session_is_shown_while_it_is_written",
        "test_dark_and_light",
        "test_a_table_cut_at_an_edge_has_a_shadow_there",
        "test_threads_of_other_scales_are_beside_each_other_not_over",
        "test_what_cannot_be_drawn_is_said",
        "test_a_session_is_shown_from_before_its_first_image_to_its_end",
        "test_other_addresses_need_the_token",
        "test_other_addresses_need_the_token_and_a_page_is_dark_or_light",
        "test_two_pages_behind_tokens_leave_each_other_alone",
        "test_what_a_person_sees_is_what_the_engine_sent",
        "test_all_images_have_room_and_no_pixel_is_wider_than_another",
        "test_images_larger_than_their_place_are_reduced_and_smoothed",
        "test_by_keyboard_alone",
        "test_stars_by_mouse_and_by_keyboard",
        "test_a_page_loaded_again_and_a_second_one_show_the_same",
        "test_nobody_at_the_page_is_said_with_its_address",
        "test_what_happens_to_the_session_is_said_on_the_page",
        "test_who_does_not_answer_is_told_that_the_images_come_again",
        "test_a_question_of_ones_own_leaves_no_doubt_how_to_answer",
        "test_a_key_before_an_image_is_chosen_shows_which_one_it_is_for",
        "test_a_tab_too_many_says_what_to_do_and_takes_the_next_place",
        "test_an_image_that_did_not_come_is_asked_for_again_and_none_is_shown_before",
        "test_a_page_whose_program_is_gone_says_so",
        "test_a_tab_that_sends_what_is_no_order_is_closed",
        "test_who_likes_red_gets_red_whatever_happens_meanwhile",
        "test_who_stops_the_rig_leaves_the_session_waiting",
        "test_the_page_shows_every_item",
    },
    NO_NODE: {"test_the_rig_in_node_keeps_the_rules", "test_the_rig_in_node_runs_a_session"},
    NO_GPU: {"test_on_a_gpu"},
    NO_LSL: {
        "test_a_recorder_gets_every_onset_at_its_time",
        "test_counts_of_a_regular_stream_are_in_their_bins",
        "test_voltages_are_spikes_where_they_cross",
        "test_spikes_with_heartbeats_and_numbers",
        "test_spikes_without_heartbeats_are_complete_after_their_latency",
        "test_a_stream_that_dies_is_a_loss_until_it_is_back",
        "test_a_stream_that_stalls_is_a_loss_and_not_waited_for",
        "test_what_cannot_be_read_is_said_at_once",
        "test_closing_ends_the_search_for_a_stream_that_is_gone",
        "test_a_block_over_the_wire",
        "test_a_stream_that_is_not_what_was_said_is_refused",
        "test_no_stream_two_streams_or_a_name_that_is_none_are_refused",
    },
    NO_LPIPS: {"test_lpips_itself_is_a_distance_of_embeddings"},
    NO_TORCHVISION: {
        "test_torchvisions_activations",
        "test_a_robust_twin_of_torchvisions",
        "test_torchvision_says_what_it_has_and_where_weights_must_lie",
        "test_timms_activations",
        "test_features_and_distances_are_the_librarys",
        "test_a_file_that_is_another_is_refused",
    },
    # Of other systems than Linux.
    NO_COUNTS: {
        "test_a_message_without_end_ends_the_connection_and_frees_what_it_held",
        "test_a_connection_that_ends_its_messages_may_send_any_number_of_bytes",
        "test_what_is_no_tcp_connection_is_not_watched",
        "test_nothing_is_counted_as_unread_once_all_is_read",
        "test_what_strangers_may_leave_unfinished_is_bounded_over_all_of_them",
        "test_messages_of_strangers_that_left_count_until_they_are_read",
    },
    NO_HOLES: {"test_room_that_was_never_written_is_not_read"},
    NO_FREEZING: {"test_a_second_rig_takes_the_place_of_one_that_is_frozen"},
}


def is_allowed(name: str, reason: str) -> bool:
    """Whether the test function `name` may be skipped for `reason`, as pytest reports it."""
    return name in ALLOWED.get(reason.removeprefix("Skipped: "), ())
