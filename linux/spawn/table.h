// Offsets that the assembly shares with wire.go (a call) and start.go (the frame).

#define call_nr      0
#define call_a0      8
#define call_a1      16
#define call_a2      24
#define call_a3      32
#define call_a4      40
#define call_a5      48
#define call_results 56
#define call_ignore  64
#define call_skip    72
#define call_flags   80
#define call_ret     88
#define call_size    96

#define frame_failed 0
#define frame_errno  8
#define frame_at     16
#define frame_count  24
#define frame_calls  32
#define frame_zero   40
#define frame_reset  72
#define frame_made   184

#define flag_fork  1
#define flag_birth 2

#define SIG_SETMASK 2
