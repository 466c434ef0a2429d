/* The program: a table of commands. What a command does is in engine/commands/. */
#include "engine/base/process.h"
#include "engine/commands/cli.h"

static const qk_command *const commands[] = {
    &qk_command_run,    &qk_command_plan,     &qk_command_inspect,  &qk_command_diff,
    &qk_command_verify, &qk_command_tokenize, &qk_command_families, &qk_command_synth,
    &qk_command_pull,   &qk_command_push,     &qk_command_join,     NULL,
};

int main(int argc, char **argv)
{
    qk_process_begin();
    return qk_cli_main(commands, argc - 1, argv + 1);
}
