/* Reads update files, each after its size in 4 bytes, and prints what the client's parser makes of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota_update.h"

void ota_copy(void *to, const void *from, uint32 size) /* as in rboot-api.c, which needs a port */
{
    uint8 *out = to;
    const uint8 *in = from;
    while (size--) {
        *out++ = *in++;
    }
}

bool ota_equals(const char *one, const char *other) /* likewise */
{
    return strcmp(one, other) == 0;
}

int main(void)
{
    uint8 head[4];
    while (fread(head, 1, 4, stdin) == 4) {
        uint32 size = head[0] | head[1] << 8 | head[2] << 16 | (uint32)head[3] << 24, i;
        char *text = malloc(size ? size : 1); /* of just this size, for the sanitizer */
        ota_update update;
        if (!text || fread(text, 1, size, stdin) != size) {
            return 1;
        }
        if (ota_update_parse(&update, text, size, "1.2.9", 1)) {
            printf("%s %s %s %u %u %d", update.app, update.device, update.version, update.serial, update.rollout,
                   update.is_own_withdrawn);
            if (update.has_rom) {
                printf(" %x %x %u ", update.flash_address, update.slot_size, update.rom_size);
                for (i = 0; i < 32; i++) {
                    printf("%02x", update.sha256[i]);
                }
            }
            printf("\n");
        } else {
            printf("refused\n");
        }
        fflush(stdout);
        free(text);
    }
    return 0;
}
