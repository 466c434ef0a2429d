/* The program. Its commands are the table in engine/commands/cli.c. */
#include "engine/base/process.h"
#include "engine/commands/cli.h"

int main(int argc, char **argv)
{
    qk_process_begin();
    return qk_cli_main(argc - 1, argv + 1);
}
