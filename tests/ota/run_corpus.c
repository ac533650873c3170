/* Runs a fuzzer's target with the files that are named. */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

int main(int count, char **paths)
{
    int i;
    for (i = 1; i < count; i++) {
        static uint8_t data[0x10000];
        FILE *file = fopen(paths[i], "rb");
        size_t size;
        uint8_t *copy;
        if (!file) {
            return 1;
        }
        size = fread(data, 1, sizeof data, file);
        fclose(file);
        copy = malloc(size + 1); /* so that a read beyond its end is found */
        for (size_t place = 0; place < size; place++) {
            copy[place] = data[place];
        }
        copy = realloc(copy, size ? size : 1);
        LLVMFuzzerTestOneInput(copy, size);
        free(copy);
    }
    printf("%d\n", count - 1);
    return 0;
}
