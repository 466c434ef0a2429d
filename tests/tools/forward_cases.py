"""Forward goldens that this repository adds to the shared ones: a tiny configuration for each, in the Hub's key style.

Made with the goldens' own script:  python make_forward_golden.py tests/data/forward --cases-from tests/tools/forward_cases.py
(torch 2.11.0, transformers 5.1.0; every number of the script's `families.py` is explained there).
"""

BASE = dict(hidden_size=64, intermediate_size=112, num_attention_heads=4, num_key_value_heads=2, vocab_size=320,
            max_position_embeddings=4096, hidden_act="silu", bos_token_id=1, eos_token_id=2, pad_token_id=0,
            tie_word_embeddings=False, torch_dtype="float32")

CASES = {
    # Every fourth layer is full; 5 layers, so that the pattern is seen to begin again.
    "olmo3_windows": dict(BASE, model_type="olmo3", architectures=["Olmo3ForCausalLM"], num_hidden_layers=5,
                          rms_norm_eps=1e-6, rope_theta=500000.0, sliding_window=9),
}
